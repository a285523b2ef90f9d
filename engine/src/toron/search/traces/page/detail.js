"use strict";
// What is known of the event that is chosen, and the way to those that it has to do with.

class Detail {
  constructor(trace, onChoose) {
    Object.assign(this, { trace, onChoose });
    this.box = document.getElementById("detail");
    this.box.append(element("p", "empty", "Choose an event to see what is known of it."));
  }

  show(r, i) {
    const run = this.trace.runs[r], lane = run.laneOf(i), facts = element("dl");
    const add = (name, ...values) => {
      const definition = element("dd");
      definition.append(...values);
      facts.append(element("dt", "", name), definition);
    };
    add("when", `${seconds(run.at[i])} virtual s`);
    add("who", lane.title ? `${lane.label}, named ${lane.title}` : lane.label);
    if (lane.process) add("host", lane.process);
    if (run.whereOf(i)) {
      add(run.kindOf(i) === "step" ? "waited at" : "where", element("code", "", run.whereOf(i)));
    }
    if (run.noteOf(i)) add("before it", run.noteOf(i));
    this.#turn(run, r, i, add);
    this.#message(run, r, i, add);
    this.#links(run, r, i, add);
    if (lane.ending) add("task", `${lane.ending} at #${lane.ended}`);
    const name = run.letter ? `${run.letter} · ` : "";
    this.box.replaceChildren(
      element("h2", "", `${name}#${run.number[i]} ${run.kindOf(i)}`),
      element("div", "text", run.textOf(i)), facts, this.#nav(run, r, i));
  }

  #turn(run, r, i, add) {
    const turn = run.turnOf(i);
    if (!turn) return;
    const [place, among, own] = turn;
    const words = place === own ? "as asyncio's own order has it" : `asyncio's own order has it as ${own}`;
    const list = element("div");
    list.append(`${place} of ${among} that were ready at once; ${words}. The others: `);
    run.rivals(i).slice(0, 8).forEach((j) => list.append(this.#link(run, r, j), " "));
    add("race", list);
  }

  #message(run, r, i, add) {
    const message = run.messageAt.get(i);
    if (!message) return;
    const size = message.size ? `, ${message.size} bytes` : "";
    if (message.sent !== i) {
      const ns = run.at[i] - run.at[message.sent];
      add("sent", this.#link(run, r, message.sent), `${size}, ${(ns / 1e6).toFixed(3)} ms before`);
      return;
    }
    if (message.state === "unseen") add("message", `nothing shows that it arrived${size}`);
    for (const j of message.arrived) {
      const ns = run.at[j] - run.at[i], word = message.state === "lost" ? "lost" : "arrived";
      add(word, this.#link(run, r, j), `, ${(ns / 1e6).toFixed(3)} ms later`);
    }
  }

  #links(run, r, i, add) {
    const step = run.step[i] && run.step[i] !== run.number[i] ? run.indexOf(run.step[i]) : -1;
    if (step >= 0) add("part of", this.#link(run, r, step));
    const cause = run.causeOf(i);
    if (cause >= 0 && cause !== step) add("led to by", this.#link(run, r, cause));
    const effects = run.effects.get(run.number[i]) || [];
    if (!effects.length) return;
    const list = element("div");
    effects.slice(0, 12).forEach((j) => {
      const line = element("div");
      line.append(this.#link(run, r, j));
      list.append(line);
    });
    if (effects.length > 12) list.append(`and ${effects.length - 12} more`);
    add("led to", list);
  }

  #link(run, r, i) {
    const link = element("button", "link", run.line(i).slice(0, 140));
    link.type = "button";
    link.addEventListener("click", () => this.onChoose(r, i, "detail"));
    return link;
  }

  #nav(run, r, i) {
    const nav = element("div", "nav");
    const add = (text, j) => {
      const button = element("button", "", text);
      button.type = "button";
      button.disabled = j < 0;
      if (j >= 0) button.addEventListener("click", () => this.onChoose(r, j, "detail"));
      nav.append(button);
    };
    add("◀ same lane", neighbour(run, i, -1));
    add("same lane ▶", neighbour(run, i, 1));
    if (this.trace.runs.length > 1) this.#counterpart(run, r, i, nav);
    return nav;
  }

  // The event of the other run in the same lane, the same number of events from its first.
  #counterpart(run, r, i, nav) {
    const other = this.trace.runs[1 - r], lane = run.laneOf(i);
    const there = other.lanes.findIndex((one) => one.identity === lane.identity);
    let rank = 0;
    for (let j = 0; j < i; j++) rank += run.lane[j] === run.lane[i];
    let found = -1;
    for (let j = 0; there >= 0 && j < other.size; j++) {
      if (other.lane[j] === there && rank-- === 0) { found = j; break; }
    }
    const button = element("button", "", `Same in ${other.letter}`);
    button.type = "button";
    button.disabled = found < 0;
    button.addEventListener("click", () => this.onChoose(1 - r, found, "detail"));
    nav.append(button);
  }
}

// The next event of the same lane, forwards or backwards; -1 when there is none.
function neighbour(run, i, way) {
  for (let j = i + way; j >= 0 && j < run.size; j += way) {
    if (run.lane[j] === run.lane[i]) return j;
  }
  return -1;
}
