"use strict";
// Puts the page together: what is chosen, what is searched for, buttons and keys.

const $ = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.trace = readTrace();
    const { runs, rows } = this.trace;
    this.state = { chosen: null, matches: runs.map(() => null), hidden: rows.map(() => false),
      version: 0 };
    const choose = (r, i, from) => this.choose(r, i, from);
    this.timeline = new Timeline(this.trace, this.state, choose);
    this.list = new EventList(this.trace, this.state, choose);
    this.detail = new Detail(this.trace, choose);
    this.#choices();
    this.#buttons();
    this.#legend();
    document.addEventListener("keydown", (event) => this.#key(event));
    this.timeline.busyOnly = $("busy").checked = rows.length > 20;
    $("busy").addEventListener("change", () => {
      this.timeline.busyOnly = $("busy").checked;
      this.timeline.layOut();
    });
    this.list.fill();
    this.#open();
  }

  // Begin where somebody wants to look first.
  #open() {
    const { runs, diff } = this.trace;
    const [, letter, number] = /^#([AB]?)(\d+)$/.exec(location.hash) || [];
    const r = Math.max(0, runs.findIndex((run) => run.letter === letter));
    if (number && runs[r].indexOf(Number(number)) >= 0) this.choose(r, runs[r].indexOf(Number(number)));
    else if (diff && (diff.firstA || diff.firstB)) this.toDifference();
    else if (runs[0].data.failed) this.toFailure();
  }

  choose(r, i, from = "") {
    this.state.chosen = { r, i };
    this.detail.show(r, i);
    if (from !== "drawing") this.timeline.show(r, i);
    else this.timeline.draw();
    this.list.show(i);
    const run = this.trace.runs[r];
    location.replace(`#${run.letter}${run.number[i]}`); // a link to the page as it stands
  }

  toFailure() {
    const runs = this.trace.runs, at = this.state.chosen ? this.state.chosen.r : 0;
    const r = runs[at].data.failed ? at : runs.findIndex((run) => run.data.failed);
    if (r >= 0 && runs[r].focus >= 0) this.choose(r, runs[r].focus);
  }

  toDifference() {
    const { diff, runs } = this.trace;
    if (!diff) return;
    const r = diff.firstA ? 0 : 1, i = runs[r].indexOf(r ? diff.firstB : diff.firstA);
    if (i >= 0) this.choose(r, i);
  }

  // The next event of a run for which `test` holds, from the chosen one on and round.
  #next(test) {
    const chosen = this.state.chosen || { r: 0, i: -1 }, run = this.trace.runs[chosen.r];
    for (let k = 1; k <= run.size; k++) {
      const i = (chosen.i + k + run.size) % run.size;
      if (test(run, i, chosen.r)) return this.choose(chosen.r, i);
    }
    return undefined;
  }

  // Search and filters

  #choices() {
    const { runs, rows } = this.trace;
    const hosts = [...new Set(runs.flatMap((run) => run.data.hosts))];
    const kinds = [...new Set(runs.flatMap((run) => [...new Set(run.kind)].map((k) => run.texts[k])))].sort();
    const options = (select, all, groups) => {
      select.append(new Option(all, ""));
      for (const [label, names] of groups) {
        const group = label ? element("optgroup") : select;
        if (label) { group.label = label; select.append(group); }
        names.forEach(([text, value]) => group.append(new Option(text, value)));
      }
    };
    options($("host"), "All hosts", [["", hosts.map((name) => [name, name])]]);
    options($("kind"), "All kinds", [
      ["Groups", Object.keys(GROUPS).map((name) => [name, `group ${name}`])],
      ["Kinds", kinds.map((name) => [name, name])]]);
    const byHost = hosts.map((host) => [host, rows.map((row, at) => [row.name, String(at), row.host])
      .filter(([, , where]) => where === host).map(([name, at]) => [name, at])]);
    options($("lane"), "All tasks", byHost.filter(([, names]) => names.length));
    for (const id of ["host", "kind", "lane"]) $(id).addEventListener("change", () => this.filter());
    $("search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.filter(), 120);
    });
    $("search").addEventListener("keydown", (event) => {
      if (event.key === "Enter") { this.filter(); this.nextMatch(); }
    });
    $("clear").addEventListener("click", () => {
      for (const id of ["search", "host", "kind", "lane"]) $(id).value = "";
      this.filter();
    });
  }

  filter() {
    const words = $("search").value.trim().toLowerCase(), kind = $("kind").value;
    const host = $("host").value, row = $("lane").value;
    const { runs, rows } = this.trace;
    const isSet = Boolean(words || kind || host || row);
    const seen = rows.map(() => false);
    let count = 0, total = 0;
    this.state.matches = runs.map((run) => {
      total += run.size;
      if (!isSet) return null;
      const byText = words && run.texts.map((text) => text.toLowerCase().includes(words));
      const byLane = run.lanes.map((lane) => (!row || lane.row === Number(row))
        && [lane.label, lane.title, lane.process].some((text) => text.toLowerCase().includes(words)));
      const byKind = run.texts.map((text, k) => !kind || text === kind || `group ${run.groups[k]}` === kind);
      const matches = new Uint8Array(run.size);
      for (let i = 0; i < run.size; i++) {
        const lane = run.lanes[run.lane[i]];
        matches[i] = byKind[run.kind[i]] && (!row || lane.row === Number(row))
          && (!host || run.hostOf(i) === host || lane.process.split("'")[0] === host)
          && (!words || byLane[run.lane[i]] || byText[run.kind[i]] || byText[run.text[i]]
            || byText[run.where[i]]) ? 1 : 0;
        if (matches[i]) { count++; seen[lane.row] = true; }
      }
      return matches;
    });
    this.state.version++;
    this.state.hidden = rows.map((_, at) => isSet && count > 0 && !seen[at]);
    $("matches").textContent = isSet
      ? `${count.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
    $("clear").hidden = !isSet;
    this.list.fill();
    this.timeline.layOut();
    if (this.state.chosen) this.list.show(this.state.chosen.i);
  }

  nextMatch() {
    this.#next((run, i, r) => this.state.matches[r] && this.state.matches[r][i]);
  }

  // Buttons and keys

  #buttons() {
    const { runs, diff } = this.trace, timeline = this.timeline;
    const actions = {
      "to-failure": () => this.toFailure(), "to-difference": () => this.toDifference(),
      "to-moved": () => this.toMoved(), "to-fault": () => this.toFault(),
      "zoom-in": () => timeline.zoom(0.6), "zoom-out": () => timeline.zoom(1 / 0.6),
      "pan-left": () => timeline.pan(-timeline.span / 2), "pan-right": () => timeline.pan(timeline.span / 2),
      fit: () => timeline.fit(),
    };
    for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
    $("scale").addEventListener("change", () => timeline.setScale($("scale").value));
    $("to-difference").hidden = !diff;
    const disable = (id, has, why) => {
      $(id).disabled = !has;
      if (!has) $(id).title = why;
    };
    disable("to-failure", runs.some((run) => run.data.failed && run.focus >= 0), "No event failed");
    disable("to-difference", diff && (diff.firstA || diff.firstB), "Both runs are alike");
    disable("to-moved", runs.some((run) => [...run.turns.values()].some((t) => t[0] !== t[2])),
      "Everything ran in asyncio's own order");
    disable("to-fault", runs.some((run) => run.bars.length), "There were no faults");
    for (const button of document.querySelectorAll(".replay button")) {
      button.addEventListener("click", () => this.#copy(button));
    }
  }

  toMoved() { this.#next((run, i) => run.wasMoved(i)); }

  toFault() {
    this.#next((run, i) => run.bars.some((bar) => bar.from === i));
  }

  #copy(button) {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    const done = navigator.clipboard ? navigator.clipboard.writeText(code.textContent)
      : Promise.resolve(document.execCommand("copy"));
    done.then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Selected: press Ctrl+C"; });
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const timeline = this.timeline;
    const actions = {
      f: () => this.toFailure(), d: () => this.toDifference(), m: () => this.toMoved(),
      b: () => this.toFault(), n: () => this.nextMatch(), c: () => this.#toCause(),
      "/": () => $("search").focus(), "+": () => timeline.zoom(0.6), "=": () => timeline.zoom(0.6),
      "-": () => timeline.zoom(1 / 0.6), 0: () => timeline.fit(),
      ArrowLeft: () => this.#beside(-1), ArrowRight: () => this.#beside(1),
    };
    if (event.target === timeline.scroller) {
      actions.ArrowUp = () => this.#otherLane(-1);
      actions.ArrowDown = () => this.#otherLane(1);
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  #toCause() {
    const chosen = this.state.chosen;
    if (!chosen) return;
    const run = this.trace.runs[chosen.r], cause = run.causeOf(chosen.i);
    if (cause >= 0) this.choose(chosen.r, cause);
  }

  // The event before or after the chosen one that matches.
  #beside(way) {
    const chosen = this.state.chosen || { r: 0, i: way > 0 ? -1 : this.trace.runs[0].size };
    const run = this.trace.runs[chosen.r], matches = this.state.matches[chosen.r];
    for (let i = chosen.i + way; i >= 0 && i < run.size; i += way) {
      if (!matches || matches[i]) return this.choose(chosen.r, i);
    }
    return undefined;
  }

  // The nearest event of the next lane that has one in view.
  #otherLane(way) {
    const chosen = this.state.chosen;
    if (!chosen) return this.#beside(1);
    const run = this.trace.runs[chosen.r], rows = this.trace.rows.length;
    for (let row = run.rowOf(chosen.i) + way; row >= 0 && row < rows; row += way) {
      if (this.state.hidden[row]) continue;
      let best = -1;
      for (let i = 0; i < run.size; i++) {
        if (run.rowOf(i) === row && (best < 0 || Math.abs(i - chosen.i) < Math.abs(best - chosen.i))) best = i;
      }
      if (best >= 0) return this.choose(chosen.r, best);
    }
    return undefined;
  }

  #legend() {
    const colours = [["step", "step of a task"], ["call", "callback"], ["wire", "network"],
      ["life", "task begins or ends"], ["fault", "fault"], ["disk", "disk"],
      ["property", "property, record"], ["failure", "failure, and what led to it"],
      ["moved", "ran in another order than asyncio's own"]];
    for (const [name, text] of colours) {
      const item = element("li"), swatch = element("i");
      swatch.style.background = name === "moved" ? "none" : `var(--${name})`;
      if (name === "moved") swatch.style.border = "2px solid var(--moved)";
      item.append(swatch, text);
      $("legend").append(item);
    }
  }
}

window.addEventListener("error", (event) => {
  $("note").textContent = `The page is broken (${event.message}); toron trace --format text has all of it.`;
});
const page = new Page();
