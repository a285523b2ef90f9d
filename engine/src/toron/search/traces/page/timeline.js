"use strict";
// Draws the lanes: who did what when, what was sent to whom, what was broken, and who waited.

const ARROWS_MAX = 1500, WAKES_MAX = 350;
const OF_GROUP = { steps: "step", tasks: "life", network: "wire", disk: "disk", faults: "fault",
  properties: "property", other: "muted" };

class Timeline extends View {
  paint() {
    const ratio = devicePixelRatio || 1, room = Math.min(this.scroller.clientHeight, this.total);
    const canvas = this.canvas;
    canvas.width = this.width * ratio;
    canvas.height = room * ratio;
    canvas.style.width = `${this.width}px`;
    canvas.style.height = `${room}px`;
    const g = this.g = canvas.getContext("2d");
    g.scale(ratio, ratio);
    this.room = room;
    g.fillStyle = this.colour.panel;
    g.fillRect(0, 0, this.width, room);
    this.paintRows();
    g.save();
    g.beginPath();
    g.rect(this.gutter, 0, this.plotWidth, room);
    g.clip();
    this.paintDown();
    this.trace.runs.forEach((run, r) => this.paintLives(run, r));
    this.paintLines();
    const seen = this.trace.runs.map((run, r) => this.paintEvents(run, r));
    const hidden = this.trace.runs.map((run, r) => this.paintArrows(run, r, seen[r]));
    this.trace.runs.forEach((run, r) => this.paintWaits(run, r));
    this.paintChosen();
    g.restore();
    if (this.narrow) this.paintLabels();
    if (this.trace.runs.length > 1) this.paintLetters();
    this.paintBars();
    this.paintRuler();
    this.paintOverview();
    this.tell(seen, hidden);
  }

  paintRows() {
    const g = this.g, top = this.scroller.scrollTop;
    for (const box of this.boxes) {
      const y = box.y - top;
      if (y > this.room || y + box.h < 0) continue;
      g.fillStyle = box.row === undefined ? this.colour.faint : this.colour.panel;
      g.fillRect(0, y, this.width, box.h);
      g.fillStyle = this.colour.line;
      g.fillRect(0, y + box.h - 1, this.width, box.row === undefined ? 0 : 1);
      if (box.row === undefined) {
        this.text(box.host, 8, y + HOST / 2, this.colour.ink, `600 12px ${this.sans}`, this.width - 16);
      } else if (!this.narrow) {
        this.paintLabel(box, y + (box.h - 3) / 2, 18, this.gutter - 38);
      }
    }
  }

  paintLabel(box, y, x, width) {
    const row = this.trace.rows[box.row], chosen = this.state.chosen;
    const isChosen = chosen && this.trace.runs[chosen.r].rowOf(chosen.i) === box.row;
    const quiet = row.kind === "loop" || row.kind === "network" || row.name.startsWith("asyncio");
    const colour = isChosen ? this.colour.accent : quiet ? this.colour.muted : this.colour.ink;
    const number = row.count === 1 ? ` ${row.mark}` : row.count > 1 ? ` ×${row.count}` : "";
    const font = `${isChosen ? "600 " : ""}12px ${this.mono}`, g = this.g;
    g.font = font;
    const room = width - g.measureText(number).width;
    this.text(row.name, x, y, colour, font, room);
    const at = x + Math.min(room, g.measureText(row.name).width);
    this.text(number, at, y, this.colour.muted, font, width);
  }

  paintLabels() {
    for (const box of this.boxes) {
      const y = box.y - this.scroller.scrollTop;
      if (box.row !== undefined && y < this.room && y > -box.h) {
        this.paintLabel(box, y + 8, 10, this.width - 20);
      }
    }
  }

  // Which track is of which run
  paintLetters() {
    for (const box of this.boxes) {
      if (box.row === undefined) continue;
      this.trace.runs.forEach((run, r) => {
        const y = box.top + this.track * (r + 0.5) - this.scroller.scrollTop;
        this.text(run.letter, this.narrow ? 1 : this.gutter - 13, y, this.colour.muted,
          `10px ${this.sans}`, 12);
      });
    }
  }

  text(text, x, y, colour, font, width) {
    const g = this.g;
    g.font = font;
    g.fillStyle = colour;
    g.textBaseline = "middle";
    if (width && g.measureText(text).width > width) {
      let size = Math.max(1, Math.floor(text.length * width / g.measureText(text).width));
      while (size > 1 && g.measureText(`${text.slice(0, size)}…`).width > width) size--;
      text = `${text.slice(0, size)}…`;
    }
    g.fillText(text, x, y);
  }

  // Hosts that are down or paused, behind their lanes

  paintDown() {
    const g = this.g;
    this.trace.runs.forEach((run, r) => {
      for (const bar of run.bars) {
        if (bar.kind === "fault") continue;
        const from = Math.max(this.gutter, this.xOf(r, bar.from));
        const to = Math.min(this.width, bar.lasts ? this.x(this.end) : this.xOf(r, bar.to));
        if (to < from) continue;
        for (const box of this.boxes) {
          if (box.row === undefined || box.host !== bar.hosts[0]) continue;
          const y = box.top + this.track * r - this.scroller.scrollTop;
          g.fillStyle = this.colour.down;
          g.globalAlpha = bar.kind === "down" ? 0.32 : 0.18;
          g.fillRect(from, y, Math.max(1, to - from), this.track);
          g.globalAlpha = 1;
        }
      }
    });
  }

  paintLives(run, r) {
    const g = this.g;
    for (const lane of run.lanes) {
      const y = this.yOfRow(r, lane.row);
      if (y === null || y < 0 || y > this.room || lane.from < 0 || lane.from >= run.size) continue;
      const from = this.xOf(r, lane.from), to = this.xOf(r, Math.min(lane.to, run.size - 1));
      if (to < this.gutter || from > this.width) continue;
      g.strokeStyle = this.colour.line;
      g.lineWidth = 2;
      this.stroke([[from, y], [to, y]]);
      if (lane.endsAt >= 0) this.paintEnding(lane, to, y);
    }
  }

  paintEnding(lane, x, y) {
    const g = this.g, bad = lane.ending === "failed";
    g.strokeStyle = bad ? this.colour.failure : this.colour.muted;
    g.lineWidth = bad ? 2 : 1.5;
    if (lane.ending === "returned") this.stroke([[x, y - 5], [x, y + 5]]);
    else {
      this.stroke([[x - 4, y - 4], [x + 4, y + 4]]);
      this.stroke([[x - 4, y + 4], [x + 4, y - 4]]);
    }
  }

  stroke(points, dash = []) {
    const g = this.g;
    g.setLineDash(dash);
    g.beginPath();
    points.forEach(([x, y], at) => (at ? g.lineTo(x, y) : g.moveTo(x, y)));
    g.stroke();
    g.setLineDash([]);
  }

  // Failure, first difference, the event that is chosen

  paintLines() {
    const g = this.g;
    this.trace.runs.forEach((run, r) => {
      if (!run.data.failed || run.focus < 0) return;
      g.strokeStyle = this.colour.failure;
      g.globalAlpha = 0.55;
      g.lineWidth = 1.5;
      const x = this.xOf(r, run.focus) + 0.5;
      this.stroke([[x, RULER], [x, this.room]], r ? [6, 3] : []);
      g.globalAlpha = 1;
    });
    const diff = this.trace.diff;
    if (diff && (diff.firstA || diff.firstB)) {
      const r = diff.firstA ? 0 : 1, i = this.trace.runs[r].indexOf(r ? diff.firstB : diff.firstA);
      if (i < 0) return;
      const x = this.xOf(r, i) - Math.min(8, this.unit / 2);
      g.fillStyle = this.colour.moved;
      g.globalAlpha = 0.07;
      g.fillRect(x, RULER, this.width, this.room);
      g.globalAlpha = 1;
      g.strokeStyle = this.colour.moved;
      g.lineWidth = 2;
      this.stroke([[x, RULER], [x, this.room]]);
    }
  }

  // Events: each once; where several fall on one pixel of a row, one is drawn

  paintEvents(run, r) {
    const first = Math.max(0, this.firstFrom(r, this.low) - 1);
    const last = Math.min(run.size, this.firstFrom(r, this.high) + 1);
    const filter = this.state.matches[r], painted = new Float64Array(this.trace.rows.length).fill(-9);
    const dense = last - first > this.plotWidth * 2;
    const heights = this.trace.rows.map((_, row) => {
      const y = this.yOfRow(r, row);
      return y === null || y < 0 || y > this.room ? NaN : y;
    });
    for (let pass = 0; pass < 2; pass++) { // what matches a filter, and slices, lie above
      painted.fill(-9);
      for (let i = first; i < last; i++) {
        if (filter && Boolean(filter[i]) !== Boolean(pass)) continue;
        if (!filter && run.isSlice(i) === Boolean(pass)) continue;
        const row = run.rowOf(i), x = this.xOf(r, i), y = heights[row];
        if ((dense && x - painted[row] < 1) || Number.isNaN(y)) continue;
        painted[row] = x;
        this.paintEvent(run, r, i, x, y, dense, filter && !filter[i]);
      }
    }
    return { first, last, count: last - first };
  }

  paintEvent(run, r, i, x, y, dense, isDim) {
    const g = this.g, kind = run.kindOf(i), size = Math.min(7, this.track / 3);
    g.globalAlpha = isDim ? 0.16 : 1;
    g.fillStyle = this.colourOf(run, i, kind);
    if (dense) {
      g.fillRect(x, y - size, 1.2, size * 2);
    } else if (run.isSlice(i)) {
      const end = this.xOf(r, run.stepEnd[i]);
      const width = Math.max(Math.min(7, this.unit * 0.7), end - x + Math.min(7, this.unit * 0.5), 1.5);
      g.beginPath();
      g.roundRect(x - Math.min(3.5, this.unit * 0.35), y - size, width, size * 2, 2.5);
      g.fill();
      if (run.wasMoved(i)) {
        g.strokeStyle = this.colour.moved;
        g.lineWidth = 2;
        g.stroke();
      }
    } else {
      g.beginPath();
      g.arc(x, y, Math.max(1.5, Math.min(3.6, this.unit * 0.3)), 0, 7);
      g.fill();
    }
    if (this.isRoomy && !dense && this.scale === "order" && this.unit >= 52) this.paintWords(run, i, x, y, kind);
    if (!dense && run.differs[i]) {
      g.fillStyle = this.colour.moved;
      g.fillRect(x - 3, y + size + 0.5, 7, 1.5);
    }
    g.globalAlpha = 1;
  }

  // Where there is room, what an event is stands under it: the line of a step, else its kind.
  paintWords(run, i, x, y, kind) {
    const line = /:\d+/.exec(run.whereOf(i));
    const words = run.isSlice(i) && line ? line[0] : kind;
    this.text(words, x - 4, y + 14, this.colour.muted, `10px ${this.mono}`, this.unit - 4);
  }

  colourOf(run, i, kind) {
    if (run.isFocus(i) || kind === "failure" || kind === "broken" || kind === "unhandled"
      || kind === "lost" || kind === "drop") return this.colour.failure;
    if (run.inChain.has(i) && run.data.failed) return this.colour.failure;
    return kind === "call" ? this.colour.call : this.colour[OF_GROUP[run.groupAt(i)]];
  }

  // Arrows: messages, what led to the failure, wake-ups

  paintArrows(run, r, seen) {
    const { first, last } = seen, g = this.g;
    const shown = run.messages.filter((m) => {
      const end = m.arrived.length ? m.arrived[m.arrived.length - 1] : m.sent;
      return m.sent < last && end >= first;
    });
    if (shown.length <= ARROWS_MAX) for (const message of shown) this.paintMessage(run, r, message);
    if (seen.count <= WAKES_MAX) {
      g.strokeStyle = this.colour.muted;
      g.globalAlpha = 0.35;
      g.lineWidth = 1;
      for (let i = first; i < last; i++) {
        const cause = run.isSlice(i) ? run.causeOf(i) : -1;
        if (cause >= 0 && run.lane[cause] !== run.lane[i]) this.arrow(r, cause, i, [2, 2]);
      }
      g.globalAlpha = 1;
    }
    if (run.data.failed && run.focus >= 0) {
      g.strokeStyle = this.colour.failure;
      g.lineWidth = 1.6;
      g.globalAlpha = 0.8;
      const path = [run.focus, ...run.chain];
      for (let at = 1; at < path.length; at++) {
        if (path[at - 1] >= first && path[at] < last) this.arrow(r, path[at], path[at - 1]);
      }
      g.globalAlpha = 1;
    }
    return shown.length > ARROWS_MAX ? shown.length : 0;
  }

  paintMessage(run, r, message) {
    const g = this.g;
    g.strokeStyle = message.state === "lost" ? this.colour.failure : this.colour.wire;
    g.globalAlpha = 0.6;
    g.lineWidth = 1.2;
    for (const arrived of message.arrived) {
      this.arrow(r, message.sent, arrived, message.state === "lost" ? [4, 3] : []);
    }
    if (message.state === "unseen" && (message.kind === "send" || message.kind === "udp")) {
      const x = this.xOf(r, message.sent), y = this.yOf(r, message.sent);
      if (y !== null && this.unit > 3) this.stroke([[x, y], [x + 9, y + 8]], [2, 2]);
    }
    g.globalAlpha = 1;
  }

  arrow(r, from, to, dash = []) {
    const y1 = this.yOf(r, from), y2 = this.yOf(r, to);
    if (y1 === null || y2 === null) return;
    this.arrowBetween(this.xOf(r, from), y1, this.xOf(r, to), y2, dash);
  }

  arrowBetween(x1, y1, x2, y2, dash) {
    const g = this.g, far = Math.hypot(x2 - x1, y2 - y1);
    if (far < 4) return;
    const dx = (x2 - x1) / far, dy = (y2 - y1) / far, head = Math.min(6, far / 2);
    const tip = Math.abs(dy) > 0.3 ? 5 : 0; // not under the mark of the event
    const [ex, ey] = [x2 - dx * tip, y2 - dy * tip];
    this.stroke([[x1, y1], [ex, ey]], dash);
    this.stroke([[ex - head * (dx - dy * 0.5), ey - head * (dy + dx * 0.5)], [ex, ey],
      [ex - head * (dx + dy * 0.5), ey - head * (dy - dx * 0.5)]]);
  }

  // Who still waited at the end, and for whom

  paintWaits(run, r) {
    const g = this.g, waits = run.data.waits;
    waits.forEach((wait, at) => {
      const lane = run.lanes[wait.lane], y = this.yOfRow(r, lane.row);
      if (y === null) return;
      const last = this.lastOf(run, wait.lane);
      const from = last < 0 ? this.gutter : this.xOf(r, last) + 5;
      const step = Math.max(10, Math.min(34, (this.x(this.high) - this.x(this.end)) / (waits.length + 1)));
      const to = Math.min(this.x(this.end) + step * (at + 1), this.width - 8 - 6 * (waits.length - at));
      g.strokeStyle = this.colour.failure;
      g.lineWidth = 1.4;
      this.stroke([[from, y], [Math.max(from, to), y]], [3, 3]);
      for (const holder of wait.holders) {
        const there = this.yOfRow(r, run.lanes[holder].row);
        if (there !== null && there !== y && to > from) {
          this.arrowBetween(to, y, to, there > y ? there - 2 : there + 2, []);
        }
      }
      if (to - from > 90) {
        this.text(wait.what || "waits", from + 8, y - 8, this.colour.failure, `11px ${this.sans}`,
          to - from - 16);
      }
    });
  }

  lastOf(run, lane) {
    if (!run.lastByLane) {
      run.lastByLane = new Int32Array(run.lanes.length).fill(-1);
      for (let i = 0; i < run.size; i++) run.lastByLane[run.lane[i]] = i;
    }
    return run.lastByLane[lane];
  }

  paintChosen() {
    const chosen = this.state.chosen;
    if (!chosen) return;
    const { r, i } = chosen, run = this.trace.runs[r], g = this.g;
    const x = this.xOf(r, i), y = this.yOf(r, i);
    g.strokeStyle = this.colour.accent;
    g.lineWidth = 1;
    g.globalAlpha = 0.6;
    this.stroke([[x, RULER], [x, this.room]]);
    g.globalAlpha = 1;
    g.lineWidth = 1.8;
    const cause = run.causeOf(i);
    if (cause >= 0) this.arrow(r, cause, i);
    for (const effect of (run.effects.get(run.number[i]) || []).slice(0, 50)) this.arrow(r, i, effect);
    if (y === null) return;
    g.strokeStyle = this.colour.moved;
    for (const rival of run.rivals(i)) {
      const there = this.yOf(r, rival);
      if (there !== null) this.stroke([[x, y], [this.xOf(r, rival), there]], [3, 2]);
    }
    g.strokeStyle = this.colour.accent;
    g.lineWidth = 2.2;
    g.beginPath();
    g.arc(x, y, 8.5, 0, 7);
    g.stroke();
  }

  // Faults and time, above the lanes

  paintBars() {
    const g = this.g, top = this.barsTop - this.scroller.scrollTop;
    if (!this.barsHeight || top + this.barsHeight < RULER) return;
    this.text("Faults", this.narrow ? 10 : 8, this.narrow ? top - 7 : top + BAR / 2, this.colour.fault,
      `600 12px ${this.sans}`, 90);
    g.save();
    g.beginPath();
    g.rect(this.gutter, RULER, this.plotWidth, this.room);
    g.clip();
    this.trace.runs.forEach((run, r) => run.bars.forEach((bar) => this.paintBar(run, r, bar, top)));
    g.restore();
  }

  paintBar(run, r, bar, top) {
    const g = this.g, y = top + (run.firstSlot + bar.slot) * BAR;
    const from = this.xOf(r, bar.from), to = bar.lasts ? this.x(this.end) : this.xOf(r, bar.to);
    if (bar.slot < 0 || to < this.gutter || from > this.width || y < RULER - BAR) return;
    const left = Math.max(from, this.gutter), width = Math.max(3, Math.min(to, this.width) - left);
    g.fillStyle = bar.kind === "fault" ? this.colour["fault-soft"] : this.colour.faint;
    g.strokeStyle = bar.kind === "fault" ? this.colour.fault : this.colour.muted;
    g.lineWidth = 1;
    g.beginPath();
    g.roundRect(left, y + 1, width, BAR - 3, 3);
    g.fill();
    g.stroke();
    const name = run.letter ? `${run.letter}: ${bar.text}` : bar.text;
    if (width > 40) this.text(name, left + 5, y + BAR / 2, this.colour.ink, `11px ${this.sans}`, width - 9);
  }

  paintRuler() {
    const g = this.g;
    g.fillStyle = this.colour.panel;
    g.fillRect(0, 0, this.width, RULER);
    g.fillStyle = this.colour.line;
    g.fillRect(0, RULER - 1, this.width, 1);
    const step = this.narrow ? 110 : 120;
    if (!this.narrow) {
      this.text("virtual seconds", 8, RULER / 2, this.colour.muted, `11px ${this.sans}`, this.gutter);
    }
    let before = null;
    for (let x = this.gutter + (this.narrow ? 4 : 0); x < this.width - 40; x += step) {
      const position = this.low + (x - this.gutter) / this.unit;
      const label = this.timeAt(position);
      if (label === null || label === before) continue;
      before = label;
      g.fillStyle = this.colour.line;
      g.fillRect(x, RULER - 7, 1, 6);
      this.text(label, x + 4, RULER / 2, this.colour.muted, `11px ${this.mono}`, step - 8);
    }
  }

  // The virtual time at a position; null outside of the run.
  timeAt(position) {
    if (this.scale === "time") return position < 0 || position > this.end * 1.001 ? null : position.toFixed(6);
    const r = this.trace.runs.reduce((best, run, at) => (run.size > this.trace.runs[best].size ? at : best), 0);
    const run = this.trace.runs[r], i = Math.ceil(position);
    return i < 0 || i >= run.size ? null : (run.at[i] / 1e9).toFixed(6);
  }

  // The whole run in one strip: how much happens when, faults, the failure, and what is in view

  paintOverview() {
    const canvas = this.overview, ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight, g = canvas.getContext("2d");
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    g.scale(ratio, ratio);
    const last = this.end, x = (position) => (position / last) * (width - 8) + 4;
    this.overviewX = (pixel) => ((pixel - 4) / (width - 8)) * last;
    const key = [width, height, ratio, this.state.version].join();
    if (this.overviewKey !== key) {
      this.overviewKey = key;
      this.paintWhole(x, width, height, ratio);
    }
    g.drawImage(this.overviewImage, 0, 0, width, height);
    g.strokeStyle = this.colour.accent;
    g.lineWidth = 1.5;
    const from = Math.max(1, x(this.low)), to = Math.min(width - 1, x(this.high));
    g.strokeRect(from, 1, Math.max(4, to - from), height - 2);
    g.fillStyle = this.colour.accent;
    g.globalAlpha = 0.1;
    g.fillRect(from, 1, Math.max(4, to - from), height - 2);
    g.globalAlpha = 1;
  }

  // All events, small; painted again only when something else is searched for.
  paintWhole(x, width, height, ratio) {
    const image = this.overviewImage, g = image.getContext("2d");
    image.width = width * ratio;
    image.height = height * ratio;
    g.scale(ratio, ratio);
    const tall = (height - 12) / Math.max(1, this.trace.rows.length), seen = new Map();
    this.trace.runs.forEach((run, r) => {
      const filter = this.state.matches[r];
      for (let i = 0; i < run.size; i++) {
        if (filter && !filter[i]) continue;
        const at = Math.round(x(this.positions[r][i]) * 2), row = run.rowOf(i);
        if (seen.get(row) === at) continue;
        seen.set(row, at);
        g.fillStyle = this.colourOf(run, i, run.kindOf(i));
        g.fillRect(at / 2, 10 + row * tall, 1, Math.max(1, tall - 0.3));
      }
    });
    this.trace.runs.forEach((run, r) => {
      g.fillStyle = this.colour.fault;
      for (const bar of run.bars) {
        const from = x(this.positions[r][bar.from]);
        g.fillRect(from, 2 + 4 * r, Math.max(2, x(this.positions[r][bar.to]) - from), 2.5);
      }
      if (!run.data.failed || run.focus < 0) return;
      g.fillStyle = this.colour.failure;
      g.fillRect(x(this.positions[r][run.focus]) - 1, 0, 2.5, height);
    });
  }

  // What is not drawn is said

  tell(seen, hidden) {
    const notes = [];
    const inView = seen.reduce((sum, one) => sum + one.count, 0);
    const arrows = hidden.reduce((sum, count) => sum + count, 0);
    notes.push(`${inView.toLocaleString("en")} events in view`);
    if (arrows) notes.push(`${arrows.toLocaleString("en")} message arrows are left out: zoom in to see them`);
    else if (seen.some((one) => one.count > WAKES_MAX)) {
      notes.push("arrows of wake-ups (who woke whom) are drawn when fewer than "
        + `${WAKES_MAX} events are in view`);
    }
    const rows = this.state.hidden.filter(Boolean).length;
    if (rows) notes.push(`${rows} lanes without a match are hidden`);
    if (this.idle) notes.push(`${this.idle} lanes in which nothing happens here are hidden`);
    const text = `${notes.join("; ")}.`;
    if (this.note.textContent !== text) this.note.textContent = text;
  }
}
