"use strict";
// The same events as a list: only the lines in view are in the document.

class EventList {
  constructor(trace, state, onChoose) {
    Object.assign(this, { trace, state, onChoose });
    this.box = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.two = trace.runs.length > 1;
    this.entries = [];
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("click", (event) => this.#click(event));
    this.box.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  get lineHeight() { return this.box.clientWidth < 640 ? 46 : 26; }

  // Take the events that match; of two runs those that match in either.
  fill() {
    const { runs } = this.trace, { matches } = this.state;
    const size = Math.max(...runs.map((run) => run.size));
    this.entries = [];
    for (let i = 0; i < size; i++) {
      if (runs.some((run, r) => i < run.size && (!matches[r] || matches[r][i]))) this.entries.push(i);
    }
    this.rows.style.height = `${this.entries.length * this.lineHeight}px`;
    this.draw();
  }

  // The place of an event in the list, or of the next one that is there.
  placeOf(i) {
    let low = 0, high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle] < i) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  show(i) {
    const at = this.placeOf(i), line = this.lineHeight, room = this.box.clientHeight;
    const top = at * line;
    if (top < this.box.scrollTop || top + line > this.box.scrollTop + room) {
      this.box.scrollTop = Math.max(0, top - room / 2);
    }
    this.draw();
  }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.#paint();
    });
  }

  #paint() {
    const line = this.lineHeight, room = this.box.clientHeight;
    const first = Math.max(0, Math.floor(this.box.scrollTop / line) - 4);
    const last = Math.min(this.entries.length, first + Math.ceil(room / line) + 8);
    this.rows.style.height = this.entries.length ? `${this.entries.length * line}px` : "auto";
    const items = [];
    for (let at = first; at < last; at++) {
      const item = this.two ? this.#pair(this.entries[at]) : this.#single(this.entries[at]);
      item.id = `event-${at}`;
      item.dataset.at = at;
      item.style.top = `${at * line}px`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-setsize", this.entries.length);
      item.setAttribute("aria-posinset", at + 1);
      const chosen = this.state.chosen && this.state.chosen.i === this.entries[at];
      item.setAttribute("aria-selected", String(Boolean(chosen)));
      if (chosen) this.box.setAttribute("aria-activedescendant", item.id);
      items.push(item);
    }
    if (!items.length) items.push(element("p", "empty", this.trace.runs[0].size ? "No event matches." : "The run left no events."));
    this.rows.replaceChildren(...items);
  }

  #single(i) {
    const run = this.trace.runs[0];
    const item = element("div", run.isFocus(i) ? "item focus" : "item");
    const [mark, meaning] = markOf(run, i);
    const sign = element("span", `mark ${meaning}`, mark);
    if (meaning) sign.setAttribute("aria-label", MEANINGS[meaning]);
    item.append(sign, element("span", "number", run.number[i]), element("span", "at", seconds(run.at[i])),
      element("span", "host", run.hostOf(i) || "world"), element("span", "who", run.laneOf(i).label),
      whatOf(run, i), element("span", "place", run.whereOf(i).replace(/ in .*<locals>\./, " in ")));
    return item;
  }

  #pair(i) {
    const { runs, diff } = this.trace;
    const isFirst = diff.alike === i && (diff.firstA || diff.firstB);
    const item = element("div", isFirst ? "item two first" : "item two");
    item.append(element("span", "number", i + 1));
    runs.forEach((run, r) => {
      const side = element("span", "side");
      if (i < run.size) {
        const chosen = this.state.chosen;
        if (run.differs[i]) side.classList.add("differs");
        if (chosen && chosen.r === r && chosen.i === i) side.classList.add("chosen");
        side.append(`${run.letter} ${markOf(run, i)[0]} ${(run.at[i] / 1e9).toFixed(6)} `,
          `${run.laneOf(i).label} `, whatOf(run, i));
        side.title = run.whereOf(i);
      } else {
        side.append(`${run.letter} had ended`);
      }
      side.dataset.run = r;
      item.append(side);
    });
    return item;
  }

  #click(event) {
    const item = event.target.closest(".item");
    if (!item) return;
    const i = this.entries[Number(item.dataset.at)], side = event.target.closest(".side");
    this.choose(i, side ? Number(side.dataset.run) : 0);
  }

  choose(i, r) {
    const other = this.trace.runs.findIndex((run) => i < run.size);
    this.onChoose(i < this.trace.runs[r].size ? r : other, i, "list");
  }

  #key(event) {
    const page = Math.floor(this.box.clientHeight / this.lineHeight) - 1;
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in by) || !this.entries.length) return;
    event.preventDefault();
    event.stopPropagation();
    const chosen = this.state.chosen;
    const at = chosen ? this.placeOf(chosen.i) + by[event.key] : 0;
    const wanted = Math.max(0, Math.min(this.entries.length - 1, at));
    this.choose(this.entries[wanted], chosen ? chosen.r : 0);
  }
}

const MEANINGS = { focus: "it failed here", chain: "led to the failure",
  moved: "not in asyncio's own order" };

function markOf(run, i) {
  if (run.isFocus(i)) return ["▶", "focus"];
  if (run.wasMoved(i)) return ["⇅", "moved"];
  return run.data.failed && run.inChain.has(i) ? ["•", "chain"] : ["", ""];
}

function whatOf(run, i) {
  const what = element("span", "what");
  what.append(element("b", "", run.kindOf(i)), ` ${run.shortOf(i)}`);
  return what;
}

function element(name, style, text) {
  const made = document.createElement(name);
  if (style) made.className = style;
  if (text !== undefined) made.textContent = text;
  return made;
}
