// The rows of one chart, as the kernel sent them: the same for all views of it in this browser.

export class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.heard = null; // when the last live row came, on this browser's clock
    this.updates = 0;
    model.on("msg:custom", (message, buffers) => this.take(message, buffers));
    this.load(model.get("setup"), model.get("history"), model.get("number"));
  }

  load(setup, buffer, number) {
    this.setup = setup;
    this.column = Object.fromEntries(setup.columns.map((name, at) => [name, at]));
    this.rows = this.decode(buffer);
    this.number = number;
    this.asked = false;
  }

  decode(view) {
    const width = this.setup.columns.length;
    const numbers = new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    return Array.from({ length: numbers.length / width }, (_, at) => numbers.subarray(at * width, (at + 1) * width));
  }

  take(message, buffers) {
    if (message.kind === "history") {
      this.load(message.setup, buffers[0], message.n);
      this.views.forEach((view) => view.rebuild());
    } else if (message.kind === "rows") {
      this.update(message.n, buffers[0]);
    } else if (message.kind === "notice") {
      this.setup.notice = message.text;
      this.views.forEach((view) => view.tell());
    } else if (message.kind === "who" && this.views.size) {
      this.tell("shown");
    }
  }

  update(number, buffer) {
    if (number <= this.number) return;
    const rows = number === this.number + 1 ? this.decode(buffer) : [];
    const newest = this.rows.length ? this.rows.at(-1)[0] : -Infinity;
    if (!rows.length || rows[0][0] < newest) {
      if (!this.asked) this.tell("shown"); // something was missed: the kernel sends the history
      this.asked = true;
      return;
    }
    if (rows[0][0] === newest) this.rows.pop();
    this.rows.push(...rows);
    this.number = number;
    this.heard = Date.now();
    this.updates += 1;
    if (this.rows.length > 1.2 * this.setup.most) this.trim();
    else this.views.forEach((view) => view.update(rows));
  }

  // Days of bars would make a page heavy: from time to time the oldest are dropped.
  trim() {
    this.rows = this.rows.slice(-this.setup.most);
    this.views.forEach((view) => view.rebuild());
  }

  tell(kind) {
    this.model.send({ kind, n: this.number });
  }

  join(view) {
    this.views.add(view);
    this.tell("shown");
  }

  leave(view) {
    this.views.delete(view);
    if (!this.views.size) this.tell("hidden");
  }

  isBar(row) {
    return row[this.column.close] === row[this.column.close]; // else an empty slot: NaN
  }

  lastBar() {
    for (let at = this.rows.length - 1; at >= 0; at -= 1) if (this.isBar(this.rows[at])) return this.rows[at];
    return null;
  }

  // The close before that a change is counted from: of the session before, or of the bar before on daily charts.
  base(row) {
    const { daily } = this.setup;
    for (let at = this.rows.length - 1; at >= 0; at -= 1) {
      const other = this.rows[at];
      const isBefore = daily ? other[0] < row[0] : day(other[0]) < day(row[0]);
      if (isBefore && this.isBar(other)) return other[this.column.close];
    }
    return null;
  }
}

// Readings of the exchange's clock are told as if they were UTC; so this is the exchange's date.
export function day(wall) {
  return Math.floor(wall / 86400);
}
