// The board's status line, buttons, table and alerts, as anywidget wants them: one store for each model, one view for
// each place that shows it. No library. The kernel sends numbered changes; what is missed is asked for again.

const SILENT_MS = 3000; // the kernel's beat comes every half a second
const SORT_MS = 1000; // rows do not jump about more often
const AGAIN_MS = 1000; // an order that the kernel does not confirm is sent again
const SELECT_MS = 120; // keys that repeat select once they rest

class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.heard = Date.now();
    this.messages = 0;
    this.orders = new Map();
    this.state = { n: -1, columns: [], rows: [], alerts: [], status: null, themes: {} };
    model.on("msg:custom", (message) => this.take(message));
    const saved = model.get("state");
    if (saved) this.load(JSON.parse(saved));
  }

  load(state) {
    this.state = state;
    this.asked = false;
    this.views.forEach((view) => view.showAll());
  }

  take(message) {
    this.heard = Date.now();
    this.messages += 1;
    if (message.done) return void this.orders.delete(message.done);
    if (message.who) return void (this.views.size && this.tell("shown", null));
    if (message.all) return this.load(message.all);
    const { n, cells, ...values } = message;
    if (n <= this.state.n) return;
    if (n !== this.state.n + 1) {
      if (!this.asked) this.tell("shown", null); // something was missed: the kernel sends all of it
      this.asked = true;
      return;
    }
    Object.assign(this.state, values, { n });
    const changed = (cells ?? []).map(([at, ...pairs]) => {
      for (let i = 0; i < pairs.length; i += 2) this.state.rows[at][pairs[i]] = pairs[i + 1];
      return this.state.rows[at];
    });
    this.views.forEach((view) => view.show(values, changed));
  }

  tell(kind, value, id = null) {
    this.model.send({ kind, value, id, n: this.state.n });
  }

  // On their way messages get lost when a kernel was stopped: an order goes out until it is confirmed.
  order(kind, value) {
    const id = `${Date.now()}-${Math.random()}`;
    this.orders.set(id, { kind, value });
    this.tell(kind, value, id);
  }

  again() {
    this.orders.forEach(({ kind, value }, id) => this.tell(kind, value, id));
    if (Date.now() - this.heard > SILENT_MS) this.tell("shown", null);
  }

  join(view) {
    this.views.add(view);
    this.tell("shown", null);
    this.timer ??= setInterval(() => this.again(), AGAIN_MS);
  }

  leave(view) {
    this.views.delete(view);
    if (this.views.size) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.tell("hidden", null);
  }
}

class View {
  constructor(store, el) {
    this.store = store;
    this.sort = { name: "rank", up: true };
    this.filter = "";
    this.build(el);
    this.stopTheme = onThemeChange(() => this.paint());
    this.timer = setInterval(() => this.beat(), 500);
    this.showAll();
  }

  remove() {
    clearInterval(this.timer);
    clearTimeout(this.arranging);
    this.stopTheme();
    this.root.remove();
  }

  build(el) {
    this.root = make("section", "workbench-panel", el, { "aria-label": "board", "data-lm-suppress-shortcuts": "true" });
    this.root.addEventListener("keydown", (event) => event.stopPropagation()); // the notebook has keys of its own
    this.status = make("header", "workbench-status", this.root);
    this.sentence = make("p", "workbench-sentence", this.root, { "aria-live": "polite" });
    const tools = make("div", "workbench-tools", this.root, { role: "toolbar", "aria-label": "board" });
    this.start = button(tools, "Start", "record these symbols here", () => this.order("start"));
    this.stop = button(tools, "Stop", "end what is recorded here", () => this.order("stop"));
    const label = make("label", "", tools, { title: "show, and record, what is on the watchlist" });
    this.follow = make("input", "", label, { type: "checkbox" });
    this.follow.addEventListener("change", () => this.order("follow", this.follow.checked));
    label.append("Follow watchlist");
    this.form = make("form", "", tools);
    this.name = make("input", "", this.form, {
      placeholder: "symbol", "aria-label": "symbol to add", size: 8, maxlength: 10, spellcheck: "false",
    });
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.name.addEventListener("keydown", (event) => event.key === "Enter" && this.add());
    button(this.form, "Add", "show this symbol, and record it where the board records", () => this.add());
    this.remover = button(tools, "Remove", "", () => this.order("remove", this.store.state.selected));
    this.busy = make("span", "workbench-busy", tools, { role: "status" });
    this.search = make("input", "workbench-filter", tools, {
      type: "search", placeholder: "filter: AA, long …", "aria-label": "filter rows", size: 14,
    });
    this.search.addEventListener("input", () => {
      this.filter = this.search.value.trim().toUpperCase();
      this.arrange();
    });
    this.told = make("p", "workbench-told", this.root, { role: "alert" });
    const body = make("div", "workbench-body", this.root);
    this.scroller = make("div", "workbench-scroll", body);
    this.table = make("table", "", this.scroller, { role: "grid", "aria-label": "watchlist" });
    const aside = make("aside", "", body);
    make("h4", "", aside).textContent = "Alerts";
    this.alerts = make("ol", "", aside);
  }

  // -- what is shown

  showAll() {
    const { state } = this.store;
    this.paint();
    this.buildHead(state.columns);
    this.show(state, []);
  }

  show(values, changed) {
    const { state } = this.store;
    if (values.rows) this.buildRows();
    else changed.forEach((row) => this.fill(row));
    if (values.status) this.tellStatus(values.status);
    if (values.alerts) this.tellAlerts(values.alerts);
    if (values.told !== undefined) this.tell(values.told);
    if (values.selected !== undefined) this.mark();
    const isBusy = Boolean(state.busy) && state.busy !== "select";
    this.busy.textContent = isBusy ? `${state.busy} …` : "";
    this.start.disabled = isBusy || state.running || state.viewer;
    this.stop.disabled = isBusy || !state.running;
    this.start.hidden = this.stop.hidden = Boolean(state.viewer);
    this.follow.checked = Boolean(state.following);
    this.remover.textContent = state.selected ? `Remove ${state.selected}` : "Remove";
    this.remover.disabled = !state.selected || isBusy;
    if (changed.length) this.arrangeSoon();
    Object.assign(this.root.dataset, { messages: this.store.messages, n: state.n });
  }

  buildHead(columns) {
    this.place = Object.fromEntries(columns.map((column, at) => [column.name, at]));
    this.table.replaceChildren();
    const head = make("thead", "", this.table);
    const [groups, names] = [make("tr", "workbench-groups", head), make("tr", "", head)];
    columns.forEach((column, at) => {
      const isNew = at === 0 || columns[at - 1].group !== column.group;
      if (isNew) {
        const width = columns.slice(at).findIndex((other) => other.group !== column.group);
        const cell = make("th", "", groups, { scope: "colgroup", colspan: width < 0 ? columns.length - at : width });
        cell.textContent = column.group;
      }
      const cell = make("th", isNew && at ? "workbench-first" : "", names, {
        scope: "col", title: column.title, "data-kind": column.kind, "data-name": column.name,
      });
      const sorter = button(cell, column.label, `sort by ${column.title}`, () => this.sortBy(column));
      sorter.setAttribute("aria-label", column.group ? `${column.label} ${column.group}` : column.title);
    });
    this.body = make("tbody", "", this.table);
    this.body.addEventListener("click", (event) => this.choose(event.target.closest("tr")?.dataset.symbol));
    this.body.addEventListener("keydown", (event) => this.press(event));
    this.lines = new Map();
  }

  buildRows() {
    const { columns, rows } = this.store.state;
    const known = this.lines;
    this.lines = new Map();
    for (const row of rows) {
      const symbol = row[this.place.symbol];
      let line = known.get(symbol);
      if (!line) {
        line = make("tr", "", null, { "data-symbol": symbol });
        columns.forEach((column, at) => {
          const isFirst = at && columns[at - 1].group !== column.group;
          const cell = make(column.name === "symbol" ? "th" : "td", isFirst ? "workbench-first" : "", line);
          if (column.name === "symbol") cell.scope = "row";
          cell.dataset.kind = column.kind;
        });
      }
      this.lines.set(symbol, line);
      this.fill(row);
    }
    this.arrange();
    this.mark();
  }

  fill(row) {
    const line = this.lines.get(row[this.place.symbol]);
    if (!line) return;
    line.classList.toggle("workbench-unranked", row[this.place.rank] === null);
    this.store.state.columns.forEach((column, at) => {
      const cell = line.children[at];
      const [text, tone] = tellCell(column.kind, row[at]);
      if (column.kind === "price" && cell.dataset.value !== undefined && row[at] !== null) {
        const before = Number(cell.dataset.value);
        if (row[at] !== before) cell.dataset.tone = row[at] > before ? "up" : "down";
      } else if ((cell.dataset.tone ?? "") !== tone) cell.dataset.tone = tone;
      if (column.kind === "score") cell.style.setProperty("--share", `${row[at] ?? 0}%`);
      if (cell.textContent !== text) cell.textContent = text;
      if (column.kind === "price") cell.dataset.value = row[at] ?? "";
    });
  }

  // -- order, filter, selection

  sortBy(column) {
    const isWord = column.kind === "text" || column.kind === "int" || column.kind === "side";
    this.sort = { name: column.name, up: this.sort.name === column.name ? !this.sort.up : isWord };
    this.arrange();
  }

  arrangeSoon() {
    this.arranging ??= setTimeout(() => this.arrange(), SORT_MS);
  }

  arrange() {
    clearTimeout(this.arranging);
    this.arranging = undefined;
    const { rows } = this.store.state;
    const [at, sign] = [this.place[this.sort.name], this.sort.up ? 1 : -1];
    const ordered = rows
      .filter((row) => this.isWanted(row))
      .map((row, number) => ({ row, number }))
      .sort((a, b) => compare(a.row[at], b.row[at], sign) || a.number - b.number)
      .map(({ row }) => this.lines.get(row[this.place.symbol]))
      .filter(Boolean);
    const isSame = ordered.length === this.body.children.length && ordered.every((line, i) => this.body.children[i] === line);
    if (!isSame) {
      const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
      this.body.replaceChildren(...ordered);
      focused?.focus({ preventScroll: true });
    }
    this.table.querySelectorAll("thead th[data-name]").forEach((cell) => {
      const isSorted = cell.dataset.name === this.sort.name;
      cell.setAttribute("aria-sort", isSorted ? (this.sort.up ? "ascending" : "descending") : "none");
    });
    this.table.setAttribute("aria-rowcount", rows.length);
  }

  isWanted(row) {
    if (!this.filter) return true;
    const side = (row[this.place.side] ?? "").toUpperCase();
    return row[this.place.symbol].includes(this.filter) || (side && side === this.filter);
  }

  mark() {
    const { selected } = this.store.state;
    for (const [symbol, line] of this.lines) {
      line.setAttribute("aria-selected", symbol === selected);
      line.tabIndex = symbol === selected ? 0 : -1;
    }
  }

  choose(symbol) {
    if (!symbol || symbol === this.store.state.selected) return;
    this.store.state.selected = symbol;
    this.mark();
    clearTimeout(this.choosing);
    this.choosing = setTimeout(() => this.store.order("select", symbol), SELECT_MS);
  }

  press(event) {
    const lines = [...this.body.children];
    const now = lines.indexOf(event.target.closest("tr"));
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: lines.length - 1, PageDown: now + 10, PageUp: now - 10 }[event.key];
    if (to === undefined || !lines.length) return;
    event.preventDefault();
    const line = lines[Math.max(0, Math.min(lines.length - 1, to))];
    this.choose(line.dataset.symbol);
    line.focus();
    line.scrollIntoView({ block: "nearest" });
  }

  add() {
    if (this.name.value.trim()) this.order("add", this.name.value);
    this.name.value = "";
  }

  order(kind, value = null) {
    this.tell("");
    this.store.order(kind, value);
  }

  // -- words

  tellStatus(status) {
    this.told.dataset.level = "bad";
    const order = ["source", "connection", "clock", "rate", "age", "holes", "lines", "recorder"];
    const byName = Object.fromEntries(status.parts.map((part) => [part.name, part]));
    const parts = [{ name: "word", text: status.word, level: status.level, title: "" }, ...order.map((name) => byName[name])];
    if (this.status.children.length !== parts.length) this.status.replaceChildren(...parts.map(() => make("span")));
    parts.forEach((part, at) => put(this.status.children[at], part));
    this.spoken = { text: status.sentence, level: status.level };
    this.beat();
  }

  // What the kernel said last, unless it is silent: a board that stands still must not look alive.
  beat() {
    const { store } = this;
    const silent = Date.now() - store.heard;
    const isSilent = silent > SILENT_MS;
    this.root.dataset.silent = isSilent ? "yes" : "no";
    const from = new Date(store.heard).toTimeString().slice(0, 8);
    const text = isSilent
      ? `The kernel has said nothing for ${Math.round(silent / 1000)} s: it is busy, restarting or dead. What is shown is from ${from}.`
      : (this.spoken?.text ?? "");
    const level = isSilent ? "bad" : (this.spoken?.level ?? "calm");
    this.root.dataset.level = level;
    if (this.sentence.textContent !== text) this.sentence.textContent = text;
    this.sentence.dataset.level = level;
    if (isSilent && this.status.firstElementChild) put(this.status.firstElementChild, { name: "word", text: "silent", level: "bad", title: "" });
  }

  tellAlerts(alerts) {
    this.alerts.replaceChildren(
      ...alerts.map(({ time, symbol, side, text }) => {
        const line = make("li", "");
        make("time", "", line).textContent = time;
        const link = button(line, text, `show ${symbol}`, () => this.choose(symbol));
        link.dataset.tone = side === "long" ? "up" : "down";
        return line;
      }),
    );
    if (!alerts.length) make("li", "workbench-none", this.alerts).textContent = "none yet";
  }

  tell(text) {
    this.told.textContent = text;
    this.told.hidden = !text;
  }

  paint() {
    const { style, themes } = this.store.state;
    const name = currentStyle(style ?? "auto");
    this.root.dataset.style = name;
    for (const [key, colour] of Object.entries(themes?.[name] ?? {})) this.root.style.setProperty(`--board-${key}`, colour);
  }
}

// -- cells

const DASH = "–";
const ARROWS = { 1: ["▲", "up"], "-1": ["▼", "down"], 0: ["", ""] };

function tellCell(kind, value) {
  if (kind === "side") return [value, value === "long" ? "up" : value === "short" ? "down" : ""];
  if (kind === "signed" && value === null) return ["", ""];
  if (value === null || value === undefined) return [DASH, "none"];
  if (kind === "turn") return ARROWS[value];
  if (kind === "text") return [value, ""];
  if (kind === "price") return [number(value, value < 1 ? 4 : 2), ""];
  if (kind === "percent") return [`${value > 0 ? "+" : ""}${number(value, 2)}`, value > 0 ? "up" : value < 0 ? "down" : ""];
  if (kind === "signed") return [value ? `${value > 0 ? "+" : "−"}${Math.abs(value)}` : "", value > 0 ? "up" : value < 0 ? "down" : ""];
  if (kind === "rsi") return [String(value), value <= 30 ? "low" : value >= 70 ? "high" : ""];
  if (kind === "k") return [String(value), value <= 20 ? "low" : value >= 80 ? "high" : ""];
  if (kind === "age") return value ? [age(value), "late"] : ["< 10 s", ""];
  if (kind === "whole") return [`${value} %`, value < 100 ? "late" : ""];
  return [String(value), ""];
}

function number(value, decimals) {
  const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return value < 0 ? `−${text}` : text;
}

function age(seconds) {
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

// What is not known stands last, whichever way the rest is sorted.
function compare(a, b, sign) {
  const [isNoneA, isNoneB] = [a === null || a === "", b === null || b === ""];
  if (isNoneA || isNoneB) return isNoneA - isNoneB;
  return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
}

// -- elements

function make(kind, className = "", parent = null, attributes = {}) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

function button(parent, text, title, onClick) {
  const made = make("button", "", parent, { type: "button", title });
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}

function put(element, { name, text, level, title }) {
  if (element.textContent !== text) element.textContent = text;
  Object.assign(element.dataset, { part: name, level });
  element.title = title;
}

// -- the page's theme

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function currentStyle(asked) {
  if (asked !== "auto") return asked;
  const lab = document.body.dataset.jpThemeLight;
  if (lab !== undefined) return lab === "false" ? "dark" : "light";
  return prefersDark.matches ? "dark" : "light";
}

function onThemeChange(callback) {
  const observer = new MutationObserver(callback);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  prefersDark.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    prefersDark.removeEventListener("change", callback);
  };
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
    },
    render({ el }) {
      const view = new View(store, el);
      store.join(view);
      return () => {
        store.leave(view);
        view.remove();
      };
    },
  };
};
