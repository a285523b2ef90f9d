"use strict";
// Mouse and fingers on the drawing: drag to move, pinch or Ctrl and the wheel to zoom, click to choose.

class Pointer {
  constructor(timeline) {
    this.timeline = timeline;
    this.down = new Map();
    const canvas = timeline.canvas;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.#end(event));
    }
    canvas.addEventListener("pointerleave", () => { timeline.tip.hidden = true; });
    timeline.scroller.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#overview(timeline.overview);
  }

  #begin(event) {
    this.down.set(event.pointerId, { x: event.offsetX, startX: event.offsetX, startY: event.offsetY });
    this.timeline.canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const timeline = this.timeline, held = this.down.get(event.pointerId);
    if (!held) return this.#hover(event);
    timeline.tip.hidden = true;
    if (this.down.size === 2) {
      const [a, b] = [...this.down.values()];
      const before = Math.abs(a.x - b.x);
      held.x = event.offsetX;
      const after = Math.abs(a.x - b.x);
      const middle = timeline.low + ((a.x + b.x) / 2 - timeline.gutter) / timeline.unit;
      if (before > 8 && after > 8) timeline.zoom(before / after, middle);
      held.moved = true;
    } else {
      if (Math.abs(event.offsetX - held.startX) > 4) held.moved = true;
      if (held.moved) timeline.pan((held.x - event.offsetX) / timeline.unit);
      held.x = event.offsetX;
    }
    return undefined;
  }

  #end(event) {
    const held = this.down.get(event.pointerId);
    this.down.delete(event.pointerId);
    if (!held || held.moved || event.type === "pointercancel") return;
    const bar = this.timeline.barAt(held.startX, held.startY);
    const found = bar ? { r: bar.r, i: bar.bar.from } : this.timeline.nearest(held.startX, held.startY);
    if (found) this.timeline.onChoose(found.r, found.i, "drawing");
  }

  #hover(event) {
    const timeline = this.timeline, tip = timeline.tip;
    const bar = timeline.barAt(event.offsetX, event.offsetY);
    const found = bar ? null : timeline.nearest(event.offsetX, event.offsetY);
    tip.hidden = !bar && !found;
    timeline.canvas.style.cursor = tip.hidden ? "grab" : "pointer";
    if (tip.hidden) return;
    const run = timeline.trace.runs[bar ? bar.r : found.r];
    tip.textContent = bar ? bar.bar.text
      : `${run.letter} ${seconds(run.at[found.i])} s  ${run.line(found.i)}  ${run.whereOf(found.i)}`.trim();
    const room = timeline.width - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(4, Math.min(event.offsetX + 14, room))}px`;
    tip.style.top = `${event.offsetY + timeline.overview.offsetHeight + 18}px`;
  }

  #wheel(event) {
    const timeline = this.timeline;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const x = event.clientX - timeline.scroller.getBoundingClientRect().left;
      timeline.zoom(Math.exp(event.deltaY * 0.002),
        timeline.low + (x - timeline.gutter) / timeline.unit);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      timeline.pan((event.shiftKey ? event.deltaY || event.deltaX : event.deltaX) / timeline.unit);
    }
  }

  #overview(strip) {
    const go = (event) => {
      const middle = this.timeline.overviewX(event.offsetX);
      this.timeline.pan(middle - (this.timeline.low + this.timeline.high) / 2);
    };
    strip.addEventListener("pointerdown", (event) => {
      strip.setPointerCapture(event.pointerId);
      go(event);
    });
    strip.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  }
}
