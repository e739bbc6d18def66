// What lies behind the series of a pane: every other session shaded, extremes tinted, the band filled.

import { BRIDGE } from "./painted.js";
import { day } from "./store.js";
import { faded } from "./theme.js";

const NARROWEST = 8; // pixels of a session that is worth shading

export class Backdrop {
  constructor(view, { band = null, levels = null, bounds = null, scale = null }) {
    Object.assign(this, { view, band, levels, bounds, scale });
    this.pane = { zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) };
  }

  attached({ requestUpdate }) {
    this.refresh = requestUpdate;
  }

  paneViews() {
    return [this.pane];
  }

  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const range = this.view.visibleRows();
      if (!range) return;
      this.shade(context, mediaSize, range);
      if (this.levels) this.tint(context, mediaSize);
      if (this.band) this.fill(context, range);
    });
  }

  shade(context, { height }, [first, last]) {
    const { rows, setup } = this.view.store;
    const half = this.view.barSpacing() / 2;
    if (setup.daily) return;
    context.fillStyle = this.view.theme.shade;
    for (const [begin, end] of this.view.sessions()) {
      if (end < first || begin > last) continue;
      const left = this.view.x(begin) - half;
      const width = this.view.x(end) + half - left;
      if (width >= NARROWEST && rows.length) context.fillRect(left, 0, width, height);
    }
  }

  tint(context, { width }) {
    const [low, high] = this.levels;
    const { up, down } = this.view.theme;
    for (const [from, to, colour] of [[this.bounds[0], low, up], [high, this.bounds[1], down]]) {
      const [bottom, top] = [this.scale(from), this.scale(to)];
      if (bottom === null || top === null) continue;
      context.fillStyle = faded(colour, 0.07);
      context.fillRect(0, top, width, bottom - top);
    }
  }

  fill(context, [first, last]) {
    const { rows, column } = this.view.store;
    const [upper, lower] = [column[this.band.upper], column[this.band.lower]];
    context.fillStyle = faded(this.view.theme[this.band.colour], 0.09);
    let run = [];
    let empty = 0;
    const close = () => {
      if (run.length > 1) {
        context.beginPath();
        run.forEach(([x, row]) => context.lineTo(x, this.scale(row[upper])));
        run.reverse().forEach(([x, row]) => context.lineTo(x, this.scale(row[lower])));
        context.fill();
      }
      run = [];
    };
    for (let at = first; at <= last; at += 1) {
      const row = rows[at];
      if (row[upper] === row[upper]) {
        run.push([this.view.x(at), row]);
        empty = 0;
      } else if ((empty += 1) > BRIDGE) close();
    }
    close();
  }
}

// The runs of rows, first and last, that are every other session.
export function everyOther(rows) {
  const runs = [];
  let begin = 0;
  let count = 0;
  for (let at = 1; at <= rows.length; at += 1) {
    if (at < rows.length && day(rows[at][0]) === day(rows[begin][0])) continue;
    if (count % 2 === 1) runs.push([begin, at - 1]);
    begin = at;
    count += 1;
  }
  return runs;
}
