// One view of a chart: the head line, the panes with their series and legends, the crosshair.

import { CandlestickSeries, HistogramSeries, LineSeries, LineStyle, createChart } from "lightweight-charts";

import { Backdrop, everyOther } from "./backdrop.js";
import { Head, Legend } from "./legend.js";
import { chartOptions } from "./options.js";
import { Painted } from "./painted.js";
import { price } from "./text.js";
import { colourOf, currentStyle, faded, onThemeChange } from "./theme.js";

const ROOM = 4; // slots right of the newest bar

export class View {
  constructor(store, el) {
    this.store = store;
    this.root = element("div", "workbench-chart", el);
    this.head = new Head(store, element("header", "", this.root));
    this.body = element("div", "workbench-chart-panes", this.root);
    this.stopTheme = onThemeChange(() => this.style !== currentStyle(store.setup.style) && this.rebuild());
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.body);
    this.build();
  }

  remove() {
    this.stopTheme();
    this.observer.disconnect();
    this.head.stop();
    this.chart.remove();
    this.root.remove();
  }

  rebuild() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const fromRight = this.isPlaced && range && { from: range.from - this.count, to: range.to - this.count };
    const isSame = this.shows === this.name();
    this.chart.remove();
    this.build(isSame ? fromRight : null);
  }

  name() {
    return `${this.store.setup.symbol} ${this.store.setup.timeframe}`;
  }

  build(fromRight = null) {
    const { setup, rows } = this.store;
    this.style = currentStyle(setup.style);
    this.theme = setup.themes[this.style];
    this.shows = this.name();
    this.root.dataset.style = this.style;
    this.body.style.height = `${setup.height}px`;
    for (const name of ["paper", "ink", "faint", "grid", "shade", "up", "down", "warning"]) {
      this.root.style.setProperty(`--chart-${name}`, this.theme[name]);
    }
    this.chart = createChart(this.body, chartOptions(this.theme, setup));
    this.painted = [];
    this.legends = [];
    this.isPlaced = false;
    delete this.root.dataset.ready;
    this.fromRight = fromRight;
    this.addPrice();
    setup.under.forEach((pane, at) => this.addPanel(pane, at + 1));
    this.painted.forEach((one) => one.setAll(rows));
    this.chart.subscribeCrosshairMove(({ logical }) => this.point(logical));
    this.resize();
    // While JupyterLab changes its theme nothing has a size, and no frame is drawn in which an observer would see it.
    requestAnimationFrame(() => this.isPlaced || this.resize());
    this.tell();
  }

  // -- panes

  addPrice() {
    const { setup } = this.store;
    const { up, down } = this.theme;
    const candles = this.chart.addSeries(CandlestickSeries, {
      upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderUpColor: up, borderDownColor: down,
      priceLineStyle: LineStyle.Dotted, priceFormat: format(this.decimals()),
      autoscaleInfoProvider: (original) => this.widened(original()),
    });
    this.candles = candles;
    candles.priceScale().applyOptions({ scaleMargins: { top: 0.13, bottom: 0.2 } });
    const volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false,
    });
    volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.painted.push(new Painted(this, candles, "bar"), new Painted(this, volume, "volume"));
    const lines = setup.over.flatMap((pane) => pane.lines);
    lines.forEach((line) => this.addLine(line, 0, { autoscaleInfoProvider: () => null, lastValueVisible: false }));
    const band = setup.over.find((pane) => pane.band)?.band ?? null;
    const pane = this.chart.panes()[0];
    pane.setStretchFactor(5);
    pane.attachPrimitive(new Backdrop(this, { band, scale: (value) => candles.priceToCoordinate(value) }));
    this.legends.push(new Legend(this, pane, lines, true));
  }

  addPanel(panel, at) {
    const fixed = panel.bounds && {
      priceFormat: format(0),
      autoscaleInfoProvider: () => ({ priceRange: { minValue: panel.bounds[0], maxValue: panel.bounds[1] } }),
    };
    if (panel.histogram) {
      const columns = this.chart.addSeries(HistogramSeries, {
        priceLineVisible: false, lastValueVisible: false, priceFormat: format(2),
      }, at);
      this.painted.push(new Painted(this, columns, "histogram", panel.histogram));
    }
    const [first] = panel.lines.map((line) => this.addLine(line, at, { ...fixed }));
    for (const level of panel.levels ?? []) {
      first.createPriceLine({
        price: level, color: faded(this.theme.faint, 0.5), lineStyle: LineStyle.Dashed, lineWidth: 1,
        axisLabelVisible: false,
      });
    }
    first.priceScale().applyOptions({ scaleMargins: { top: 0.24, bottom: 0.08 } });
    const pane = this.chart.panes()[at];
    pane.setStretchFactor(panel.stretch);
    pane.attachPrimitive(new Backdrop(this, { ...panel, band: null, scale: (value) => first.priceToCoordinate(value) }));
    this.legends.push(new Legend(this, pane, panel.lines, false));
  }

  addLine(line, at, options) {
    const series = this.chart.addSeries(LineSeries, {
      color: colourOf(this.theme, line.colour), lineWidth: line.width,
      lineStyle: line.dashed ? LineStyle.Dashed : LineStyle.Solid,
      priceLineVisible: false, crosshairMarkerRadius: 3, priceFormat: format(line.decimals),
      lastValueVisible: !this.store.setup.compact, ...options,
    }, at);
    this.painted.push(new Painted(this, series, "line", line.column));
    return series;
  }

  // The band is in view as long as it does not press the bars flat; averages that are far away are not.
  widened(info) {
    const band = this.store.setup.over.find((pane) => pane.band)?.band;
    const range = band && info?.priceRange && this.visibleRows();
    if (!range) return info;
    const { minValue, maxValue } = info.priceRange;
    const room = 0.5 * (maxValue - minValue);
    const { rows, column } = this.store;
    let [low, high] = [minValue, maxValue];
    for (let at = range[0]; at <= range[1]; at += 1) {
      const [bottom, top] = [rows[at][column[band.lower]], rows[at][column[band.upper]]];
      if (bottom === bottom) [low, high] = [Math.min(low, bottom), Math.max(high, top)];
    }
    return {
      ...info,
      priceRange: { minValue: Math.max(low, minValue - room), maxValue: Math.min(high, maxValue + room) },
    };
  }

  // Prices under a dollar move by less than a cent.
  decimals() {
    const last = this.store.lastBar();
    return last && last[this.store.column.close] < 1 ? 4 : 2;
  }

  // -- what changes

  update(rows) {
    const from = this.store.rows.length - rows.length;
    this.painted.forEach((one) => rows.forEach((row, at) => one.update(row, from + at)));
    this.count = this.store.rows.length;
    if (!this.isPlaced) this.resize();
    this.tell();
  }

  point(logical) {
    this.pointed = logical === undefined ? undefined : Math.round(logical);
    this.tell();
  }

  // Tell the values at the crosshair, else those of the newest bar.
  tell() {
    const row = this.store.rows[this.pointed] ?? this.store.lastBar();
    this.head.tell(this.pointed !== undefined && row);
    this.legends.forEach((legend) => legend.tell(row, this.pointed !== undefined));
    const last = this.store.lastBar();
    Object.assign(this.root.dataset, {
      bars: this.store.rows.filter((one) => this.store.isBar(one)).length, last: last ? last[0] : "", close: last ? last[this.store.column.close] : "",
      forming: last ? last[this.store.column.forming] : "", updates: this.store.updates,
    });
  }

  // The element has no size until it is in the page: only then can the newest bars be put at the right.
  resize() {
    const { width, height } = this.body.getBoundingClientRect();
    if (!width || !height) return;
    this.chart.resize(Math.floor(width), Math.floor(height));
    this.legends.forEach((legend) => legend.place());
    this.count = this.store.rows.length;
    if (this.isPlaced || !this.count) return;
    this.isPlaced = true;
    const { from, to } = this.fromRight || { from: -this.store.setup.last, to: ROOM };
    this.chart.timeScale().setVisibleLogicalRange({ from: this.count + from, to: this.count + to });
    const { chart } = this;
    const drawn = () => this.chart === chart && (this.root.dataset.ready = "yes");
    requestAnimationFrame(() => requestAnimationFrame(drawn));
  }

  // -- where things are

  visibleRows() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const last = this.store.rows.length - 1;
    if (!range || last < 0) return null;
    const [from, to] = [Math.max(0, Math.floor(range.from)), Math.min(last, Math.ceil(range.to))];
    return from <= to ? [from, to] : null;
  }

  sessions() {
    const { rows } = this.store;
    if (this.known?.rows !== rows || this.known.length !== rows.length) {
      this.known = { rows, length: rows.length, runs: everyOther(rows) };
    }
    return this.known.runs;
  }

  x(at) {
    return this.chart.timeScale().logicalToCoordinate(at);
  }

  barSpacing() {
    return this.chart.timeScale().options().barSpacing;
  }
}

function format(decimals) {
  return { type: "custom", formatter: (value) => price(value, decimals), minMove: 10 ** -decimals };
}

export function element(kind, className, parent) {
  const made = document.createElement(kind);
  made.className = className;
  parent.append(made);
  return made;
}
