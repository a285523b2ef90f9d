"use strict";
// The runs as the page reads them: columns of numbers, and what follows from them.

const GROUPS = {
  steps: ["step", "call"],
  tasks: ["spawn", "end", "thread", "executor", "signal", "unhandled"],
  network: ["send", "deliver", "udp", "fin", "rst", "reset", "connect", "open", "accept", "refused",
    "listen", "bind", "join", "lost", "drop", "icmp", "dns", "write", "tls"],
  disk: ["disk", "disk.write", "file."],
  faults: ["fault", "heal", "partition", "blackhole", "crash", "kill", "restart", "pause", "resume",
    "clock", "plan", "quiet"],
  properties: ["broken", "eventually", "sometimes", "record", "result", "failure"],
};
const LANE_FIELDS = ["row", "label", "title", "identity", "kind", "process", "spawned", "first",
  "ended", "ending"];

function groupOf(kind) {
  for (const [group, kinds] of Object.entries(GROUPS)) {
    if (kinds.some((one) => one === kind || (one.endsWith(".") && kind.startsWith(one)))) return group;
  }
  return "other";
}

function seconds(ns) {
  return `${Math.floor(ns / 1e9)}.${String(ns % 1e9).padStart(9, "0")}`;
}

class Run {
  constructor(data, letter) {
    const columns = data.events, size = columns.number.length;
    Object.assign(this, { data, letter, size, texts: data.texts, endNs: data.endNs });
    this.number = new Int32Array(size);
    this.at = new Float64Array(size);
    this.step = new Int32Array(size);
    this.cause = new Int32Array(size);
    for (const name of ["lane", "kind", "text", "where", "host", "note"]) {
      this[name] = Uint32Array.from(columns[name]);
    }
    for (let i = 0, number = 0, at = 0; i < size; i++) {
      number += columns.number[i];
      at += columns.at[i];
      this.number[i] = number;
      this.at[i] = at;
      this.step[i] = columns.step[i] ? number - columns.step[i] + 1 : 0;
      this.cause[i] = columns.cause[i] ? number - columns.cause[i] : 0;
    }
    this.lanes = data.lanes.map((row) =>
      Object.fromEntries(LANE_FIELDS.map((name, at) => [name, row[at]])));
    for (const lane of this.lanes) { // -1: it had not begun, or not ended
      lane.from = lane.spawned || lane.first ? this.indexAfter(lane.spawned || lane.first) : -1;
      lane.to = lane.ended ? this.indexAfter(lane.ended) : size - 1;
      lane.endsAt = lane.ended ? this.indexOf(lane.ended) : -1;
    }
    this.groups = data.texts.map(groupOf);
    this.turns = new Map(Object.entries(data.turns).map(([number, turn]) => [Number(number), turn]));
    this.focus = this.indexOf(data.focus);
    this.chain = data.chain.map((number) => this.indexOf(number)).filter((i) => i >= 0);
    this.inChain = new Set(this.chain);
    this.messages = data.messages.map(([sent, kind, size, state, arrived]) =>
      ({ sent: this.indexOf(sent), kind, size, state,
        arrived: arrived.map((n) => this.indexOf(n)).filter((i) => i >= 0) }))
      .filter((message) => message.sent >= 0).sort((a, b) => a.sent - b.sent);
    this.messageAt = new Map();
    for (const message of this.messages) {
      for (const i of [message.sent, ...message.arrived]) this.messageAt.set(i, message);
    }
    this.bars = data.bars.map((bar) => ({ ...bar, from: Math.max(0, this.indexAfter(bar.begin)),
      to: bar.end ? this.indexAfter(bar.end) : size - 1, lasts: !bar.end }));
    this.stepEnd = this.#stepEnds();
    this.effects = this.#effects();
    this.differs = new Uint8Array(size);
  }

  #stepEnds() {
    const ends = Int32Array.from({ length: this.size }, (_, i) => i), open = new Map();
    for (let i = 0; i < this.size; i++) {
      if (this.step[i] === this.number[i]) open.set(this.step[i], i);
      else if (this.step[i] && open.has(this.step[i])) ends[open.get(this.step[i])] = i;
    }
    return ends;
  }

  #effects() {
    const effects = new Map();
    for (let i = 0; i < this.size; i++) {
      if (!this.cause[i] || this.cause[i] === this.step[i]) continue;
      const list = effects.get(this.cause[i]);
      if (list) list.push(i);
      else effects.set(this.cause[i], [i]);
    }
    return effects;
  }

  // The index of an event by its number, -1 when it is not here.
  indexOf(number) {
    const at = this.indexAfter(number);
    return at < this.size && this.number[at] === number ? at : -1;
  }

  // The first event whose number is not below `number`.
  indexAfter(number) {
    let low = 0, high = this.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.number[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  kindOf(i) { return this.texts[this.kind[i]]; }
  textOf(i) { return this.texts[this.text[i]]; }
  whereOf(i) { return this.texts[this.where[i]]; }
  hostOf(i) { return this.texts[this.host[i]]; }
  noteOf(i) { return this.texts[this.note[i]]; }
  groupAt(i) { return this.groups[this.kind[i]]; }
  laneOf(i) { return this.lanes[this.lane[i]]; }
  rowOf(i) { return this.laneOf(i).row; }
  isSlice(i) { return this.step[i] === this.number[i]; }
  turnOf(i) { return this.turns.get(this.number[i]); }
  wasMoved(i) { const turn = this.turnOf(i); return Boolean(turn) && turn[0] !== turn[2]; }
  isFocus(i) { return i === this.focus && this.data.failed; }

  // The text without the functions around a function.
  shortOf(i) { return this.textOf(i).replace(/[\w.<>]+\.<locals>\./g, ""); }

  // The other steps whose order with this one asyncio leaves open.
  rivals(i) {
    const turn = this.turnOf(i), found = [];
    if (!turn) return found;
    for (const way of [-1, 1]) {
      for (let j = i + way; j >= 0 && j < this.size && found.length < 40; j += way) {
        if (!this.isSlice(j)) continue;
        const other = this.turnOf(j);
        if (!other || other[1] !== turn[1] || (other[0] - turn[0]) * way <= 0) break;
        found.push(j);
      }
    }
    return found.sort((a, b) => a - b);
  }

  // Where an event that led to this one stands; of a part of a step, the step.
  causeOf(i) { return this.cause[i] ? this.indexOf(this.cause[i]) : -1; }

  line(i) {
    return `#${this.number[i]} ${this.laneOf(i).label}: ${this.kindOf(i)} ${this.shortOf(i)}`.trim();
  }
}

function readTrace() {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const two = payload.runs.length > 1;
  const runs = payload.runs.map((data, at) => new Run(data, two ? "AB"[at] : ""));
  if (payload.diff) markDifferences(runs, payload.diff);
  const rows = payload.rows.map(([host, kind, name]) => ({ host, kind, name, count: 0, mark: "" }));
  for (const lane of runs[0].lanes) {
    const row = rows[lane.row], mark = /#\d+/.exec(lane.label);
    if (mark) { row.count++; row.mark = mark[0]; }
  }
  return { rows, runs, diff: payload.diff };
}

// A lane does something else from its first event that differs; before it, both runs are alike.
function markDifferences(runs, diff) {
  runs.forEach((run, r) => {
    const first = new Map();
    for (const lane of diff.lanes) if (lane[r] !== null && lane[2 + r]) first.set(lane[r], lane[2 + r]);
    for (let i = 0; i < run.size; i++) {
      const from = first.get(run.lane[i]);
      run.differs[i] = from && run.number[i] >= from ? 1 : 0;
    }
  });
}
