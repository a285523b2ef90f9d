"use strict";
// Where everything stands in the drawing: positions in time, rows, what is in view, what is under a
// point. What it looks like belongs to `timeline.js`.

const RULER = 26, HOST = 20, BAR = 17, TAIL = 3, ROOMY_ROWS = 12;
const COLOURS = ["page", "panel", "ink", "muted", "line", "faint", "accent", "hover", "step", "call",
  "wire", "life", "disk", "fault", "fault-soft", "failure", "failure-soft", "moved", "property",
  "down"];

class View {
  constructor(trace, state, onChoose) {
    Object.assign(this, { trace, state, onChoose });
    this.canvas = document.getElementById("lanes");
    this.scroller = document.getElementById("scroller");
    this.height = document.getElementById("height");
    this.overview = document.getElementById("overview");
    this.tip = document.getElementById("tip");
    this.note = document.getElementById("note");
    this.low = 0;
    this.high = 1;
    this.readColours();
    this.setScale("order");
    this.layOut();
    this.scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.layOut()).observe(this.scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.readColours();
      this.draw();
    });
    this.overviewImage = document.createElement("canvas");
    new Pointer(this);
  }

  readColours() {
    this.overviewKey = "";
    const style = getComputedStyle(document.documentElement);
    this.colour = Object.fromEntries(
      COLOURS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.mono = style.getPropertyValue("--mono");
    this.sans = style.getPropertyValue("--sans");
  }

  // Positions: an event's place in order, or its time in seconds

  setScale(scale) {
    this.scale = scale;
    this.positions = this.trace.runs.map((run) => {
      const positions = new Float64Array(run.size);
      for (let i = 0; i < run.size; i++) positions[i] = scale === "time" ? run.at[i] / 1e9 : i;
      return positions;
    });
    this.overviewKey = "";
    this.fit();
  }

  get end() {
    return Math.max(1e-6, ...this.positions.map((p, r) => p.length ? p[p.length - 1] : 0));
  }

  get unit() { return this.plotWidth / (this.high - this.low); }
  get plotWidth() { return Math.max(40, this.width - this.gutter); }
  get span() { return this.high - this.low; }

  fit() {
    const tail = this.scale === "time" ? this.end * 0.04 : Math.max(TAIL, this.end * 0.03);
    this.low = this.scale === "time" ? -this.end * 0.01 : -1;
    this.high = this.end + tail;
    this.moved();
  }

  zoom(factor, middle = (this.low + this.high) / 2) {
    const least = this.scale === "time" ? 2e-6 : 6, most = this.end * 1.2 + 10;
    const span = Math.min(most, Math.max(least, this.span * factor));
    const share = (middle - this.low) / this.span;
    this.low = middle - span * share;
    this.high = this.low + span;
    this.moved();
  }

  pan(by) {
    const room = this.span * 0.8;
    const shift = Math.max(-room - this.low, Math.min(by, this.end + room - this.high));
    this.low += shift;
    this.high += shift;
    this.moved();
  }

  // Another part of the run is in view: lanes in which nothing happens there may go.
  moved() {
    this.draw();
    if (!this.busyOnly) return;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.layOut(), 200);
  }

  x(position) { return this.gutter + (position - this.low) * this.unit; }
  xOf(r, i) { return this.x(this.positions[r][i]); }

  // The first event of a run whose position is not below `position`.
  firstFrom(r, position) {
    const positions = this.positions[r];
    let low = 0, high = positions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (positions[middle] < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Bring an event into view, with some of what is around it.
  show(r, i) {
    const position = this.positions[r][i];
    if (this.scale === "order") {
      const wanted = Math.max(12, Math.round(this.plotWidth / 14));
      if (this.span > wanted * 2 && this.end > wanted) this.zoom(wanted / this.span, position);
    }
    if (position < this.low + this.span * 0.08 || position > this.high - this.span * 0.08) {
      this.pan(position - (this.low + this.span * 0.62));
    }
    if (this.busyOnly) this.layOut();
    const box = this.boxOf(this.trace.runs[r].rowOf(i));
    const top = this.scroller.scrollTop, room = this.scroller.clientHeight;
    if (box && (box.y < top + RULER || box.y + box.h > top + room)) {
      this.scroller.scrollTop = Math.max(0, box.y - room / 2);
    }
    this.draw();
  }

  // Rows

  layOut() {
    const narrow = this.scroller.clientWidth < 640;
    this.width = this.scroller.clientWidth;
    this.gutter = narrow ? 8 : Math.min(250, Math.max(150, this.width * 0.2));
    this.narrow = narrow;
    const idle = this.idleRows(), shown = idle.filter((is, at) => !is && !this.state.hidden[at]).length;
    this.idle = idle.filter((is, at) => is && !this.state.hidden[at]).length;
    const roomy = this.trace.runs.length < 2 && shown <= ROOMY_ROWS;
    const track = this.trace.runs.length > 1 ? 15 : roomy ? 36 : 22, label = narrow ? 14 : 0;
    this.track = track;
    this.isRoomy = roomy;
    this.boxes = [];
    let y = RULER + 4 + this.layOutBars(narrow);
    let host = null;
    this.trace.rows.forEach((row, at) => {
      if (this.state.hidden[at] || idle[at]) return;
      if (row.host !== host) {
        host = row.host;
        if (host) { this.boxes.push({ host, y, h: HOST }); y += HOST; }
      }
      const h = label + track * this.trace.runs.length + 3;
      this.boxes.push({ row: at, host, y, h, top: y + label });
      y += h;
    });
    this.total = y + 8;
    this.byRow = new Map(this.boxes.filter((box) => box.row !== undefined).map((box) => [box.row, box]));
    this.height.style.height = `${this.total}px`;
    this.draw();
  }

  // The rows in which nothing is in view, if those are to be hidden.
  idleRows() {
    const idle = this.trace.rows.map(() => Boolean(this.busyOnly));
    if (!this.busyOnly) return idle;
    this.trace.runs.forEach((run, r) => {
      const last = this.firstFrom(r, this.high);
      for (let i = this.firstFrom(r, this.low); i < last; i++) idle[run.rowOf(i)] = false;
      for (const wait of run.data.waits) idle[run.lanes[wait.lane].row] = false;
    });
    const chosen = this.state.chosen;
    if (chosen) idle[this.trace.runs[chosen.r].rowOf(chosen.i)] = false;
    return idle;
  }

  layOutBars(narrow) {
    let slots = 0;
    this.trace.runs.forEach((run, r) => {
      const ends = [], low = this.firstFrom(r, this.low), high = this.firstFrom(r, this.high);
      for (const bar of run.bars) {
        bar.slot = -1;
        if (this.busyOnly && (bar.from > high || bar.to < low)) continue;
        let slot = ends.findIndex((end) => end < bar.from);
        if (slot < 0) slot = ends.length;
        ends[slot] = bar.to;
        bar.slot = slot;
      }
      run.firstSlot = slots;
      slots += ends.length;
    });
    this.barsHeight = slots ? slots * BAR + 6 + (narrow ? 14 : 0) : 0;
    this.barsTop = RULER + 4 + (narrow ? 14 : 0);
    return this.barsHeight;
  }

  boxOf(row) { return this.byRow.get(row); }

  // The middle of a run's track in a row; null when the row is hidden.
  yOf(r, i) { return this.yOfRow(r, this.trace.runs[r].rowOf(i)); }

  yOfRow(r, row) {
    const box = this.byRow.get(row);
    return box ? box.top + this.track * (r + 0.5) - this.scroller.scrollTop : null;
  }

  // Drawing

  draw() {
    if (this.pending || !this.width) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.paint();
    });
  }

  // The event nearest to a point of the canvas, as {r, i}; null when none is near.
  nearest(px, py) {
    let best = null, least = 18;
    this.trace.runs.forEach((run, r) => {
      const middle = this.low + (px - this.gutter) / this.unit, reach = 18 / this.unit;
      const first = this.firstFrom(r, middle - reach), last = this.firstFrom(r, middle + reach);
      for (let i = first; i < Math.min(last + 1, run.size, first + 4000); i++) {
        const y = this.yOf(r, i);
        if (y === null) continue;
        const far = Math.abs(this.xOf(r, i) - px) + 2 * Math.max(0, Math.abs(y - py) - this.track / 2);
        if (far < least) { least = far; best = { r, i }; }
      }
    });
    return best;
  }

  // The fault whose bar is at a point.
  barAt(px, py) {
    const y = py + this.scroller.scrollTop - this.barsTop;
    for (const [r, run] of this.trace.runs.entries()) {
      for (const bar of run.bars) {
        if (bar.slot < 0) continue;
        const slot = run.firstSlot + bar.slot;
        const to = bar.lasts ? this.x(this.end) : this.xOf(r, bar.to);
        if (y >= slot * BAR && y < (slot + 1) * BAR && px >= this.xOf(r, bar.from) - 2 && px <= to + 2) {
          return { r, bar };
        }
      }
    }
    return null;
  }
}
