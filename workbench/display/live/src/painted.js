// Rows as the items of one series.

import { faded } from "./theme.js";

export const BRIDGE = 4; // a line is drawn across at most so many empty slots

export class Painted {
  constructor(view, series, kind, name = "close") {
    Object.assign(this, { view, series, kind, at: view.store.column[name] });
  }

  setAll(rows) {
    this.series.setData(rows.map((row, at) => this.item(row, at)).filter(Boolean));
  }

  update(row, at) {
    const item = this.item(row, at);
    if (item) this.series.update(item);
    // The line on this side of a gap was drawn before there was one.
    if (item && this.kind === "line" && this.emptyFrom(at - 1, -1) > BRIDGE) this.setAll(this.view.store.rows);
  }

  item(row, at) {
    const value = row[this.at];
    if (value !== value) return this.kind === "bar" ? { time: row[0] } : null; // the bars make the slots
    return this[this.kind](row, at, value);
  }

  bar(row) {
    const { column } = this.view.store;
    const [open, high, low, close] = ["open", "high", "low", "close"].map((name) => row[column[name]]);
    const item = { time: row[0], open, high, low, close };
    if (!row[column.forming]) return item;
    return { ...item, color: faded(this.colour(close >= open), 0.25) }; // hollow until it is complete
  }

  volume(row) {
    const { column } = this.view.store;
    const value = row[column.volume];
    if (value !== value) return null;
    const isUp = row[column.close] >= row[column.open];
    return { time: row[0], value, color: faded(this.colour(isUp), row[column.forming] ? 0.25 : 0.45) };
  }

  histogram(row, at, value) {
    const before = this.view.store.rows[at - 1]?.[this.at] ?? 0;
    const grows = Math.abs(value) >= Math.abs(before);
    return { time: row[0], value, color: faded(this.colour(value >= 0), grows ? 0.75 : 0.35) };
  }

  line(row, at, value) {
    const isTorn = this.emptyFrom(at + 1, 1) > BRIDGE; // the colour is that of the line to the next item
    return isTorn ? { time: row[0], value, color: "transparent" } : { time: row[0], value };
  }

  // How many slots are empty in a row from there on; counted a little further than matters.
  emptyFrom(at, step) {
    const { rows } = this.view.store;
    let empty = 0;
    for (let slot = at; empty <= BRIDGE && rows[slot] && !this.view.store.isBar(rows[slot]); slot += step) empty += 1;
    return empty;
  }

  colour(isUp) {
    return isUp ? this.view.theme.up : this.view.theme.down;
  }
}
