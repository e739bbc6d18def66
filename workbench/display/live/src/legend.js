// The words on a chart: its head line, and the values in each pane.

import { age, clock, date, moment, price, shares, signed } from "./text.js";
import { colourOf } from "./theme.js";

const LATE_S = 15; // in a session a bar is due every five seconds

export class Head {
  constructor(store, root) {
    this.store = store;
    const part = (name) => {
      const made = document.createElement("span");
      made.dataset.part = name;
      root.append(made);
      return made;
    };
    this.parts = Object.fromEntries(
      ["symbol", "timeframe", "price", "change", "when", "notice", "source", "pulse"].map((name) => [name, part(name)]),
    );
    this.parts.pulse.setAttribute("role", "status");
    this.timer = setInterval(() => this.beat(), 1000);
  }

  stop() {
    clearInterval(this.timer);
  }

  tell(pointed) {
    const { setup, column } = this.store;
    const { parts } = this;
    parts.symbol.textContent = setup.symbol;
    parts.timeframe.textContent = setup.timeframe;
    const isSimulated = setup.source.toLowerCase().includes("simulated");
    parts.source.textContent = isSimulated ? "simulated data" : setup.source;
    parts.source.title = setup.source;
    parts.source.classList.toggle("warning", isSimulated);
    parts.notice.textContent = setup.notice;
    const row = this.store.lastBar();
    const base = row && this.store.base(row);
    const decimals = row && row[column.close] < 1 ? 4 : 2;
    parts.price.textContent = row ? price(row[column.close], decimals) : "";
    const change = row && base !== null ? row[column.close] - base : null;
    parts.change.textContent =
      change === null ? "" : `${signed(change, decimals)} (${signed((100 * change) / base)} %)`;
    parts.change.title = setup.daily ? "since the close before" : "since the close of the session before";
    parts.change.dataset.direction = change === null ? "" : change >= 0 ? "up" : "down";
    parts.when.textContent = pointed ? this.when(pointed[0]) : this.telling(row);
    this.beat();
  }

  telling(row) {
    const { setup, column } = this.store;
    if (!row) return "no bars yet";
    if (setup.compact) return row[column.forming] ? "" : this.when(row[0]); // a chart that moves speaks for itself
    return `${row[column.forming] ? "forming since" : "last bar"} ${this.when(row[0])}`;
  }

  when(wall) {
    const { daily, zone, compact } = this.store.setup;
    if (compact) return daily ? date(wall) : `${date(wall, false)} ${clock(wall)}`;
    return daily ? moment(wall, true) : `${moment(wall, false)} ${zone}`;
  }

  beat() {
    const { setup, heard } = this.store;
    const seconds = heard === null ? null : (Date.now() - heard) / 1000;
    const { pulse } = this.parts;
    pulse.hidden = !setup.live;
    pulse.dataset.state = seconds === null ? "waiting" : seconds > LATE_S ? "late" : "live";
    pulse.textContent =
      seconds === null ? "waiting for live bars" : seconds > LATE_S ? `no live bar for ${age(seconds)}` : "live";
  }
}

export class Legend {
  constructor(view, pane, lines, isPrice) {
    Object.assign(this, { view, pane, lines: lines.filter((line) => line.label), isPrice });
    this.root = document.createElement("div");
    this.root.className = "workbench-chart-legend";
  }

  // The pane's element is there once the chart has been drawn.
  place() {
    const cell = this.pane.getHTMLElement()?.querySelectorAll("td")[1];
    if (cell && this.root.parentNode !== cell.firstElementChild) cell.firstElementChild.append(this.root);
    else if (!cell) requestAnimationFrame(() => this.place());
  }

  // A compact chart tells the lines over its price only where somebody points at them.
  tell(row, isPointed) {
    const isShort = this.isPrice && this.view.store.setup.compact && !isPointed;
    const values = row && !isShort ? this.values(row) : [];
    this.root.replaceChildren(...(row ? [...(this.isPrice ? this.bar(row) : []), ...values] : []));
  }

  bar(row) {
    const { column } = this.view.store;
    if (!this.view.store.isBar(row)) return [word("no bar", this.view.theme.warning)];
    const value = (name) => row[column[name]];
    const colour = value("close") >= value("open") ? this.view.theme.up : this.view.theme.down;
    const bar = [["O", "open"], ["H", "high"], ["L", "low"], ["C", "close"]].map(([letter, name]) =>
      word(`${letter} `, null, word(price(value(name), this.view.decimals()), colour)),
    );
    const volume = value("volume") === value("volume") ? [word("Vol ", null, word(shares(value("volume")), colour))] : [];
    const missing = value("missing")
      ? [word(`lacks ${value("missing")} of its five-second bars`, this.view.theme.warning)]
      : [];
    return [...bar, ...volume, ...missing, line()];
  }

  values(row) {
    const { column } = this.view.store;
    return this.lines.map(({ column: name, label, colour, decimals }) => {
      const value = row[column[name]];
      const text = value === value ? price(value, decimals) : "–";
      return word(`${label} `, null, word(text, colourOf(this.view.theme, colour)));
    });
  }
}

function word(text, colour, inner = null) {
  const made = document.createElement("span");
  made.textContent = text;
  if (colour) made.style.color = colour;
  if (inner) made.append(inner);
  return made;
}

function line() {
  return document.createElement("br");
}
