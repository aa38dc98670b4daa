/* The map: where the eye is, what is drawn, what the hand does. */
const MOST_LINKS = 4000, MOST_NAMES = 400, MOST_CLUSTERS = 60, NEAR = 14, FONT = "system-ui, sans-serif";

class PoolMap {
  constructor(element, names) {
    const start = sharedStart(names), count = names.length;
    Object.assign(this, { element, names, start, count, x: [], y: [], chosen: -1, near: [], pairs: [], words: [], clusters: [], hovered: -1, eye: [.5, .5, 1] });
    this.size = count <= 40 ? 15 : count <= 200 ? 11 : count <= 1000 ? 8 : count <= 5000 ? 6 : 4;
    this.now = this.size;
    this.edge = count <= 1000;
    this.canvas = document.createElement("canvas");
    element.append(this.canvas);
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    // Drawn in an order that has nothing to do with names: no domain lies above another.
    this.order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1, seed = 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = seed % (i + 1);
      [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
    }
    this.box = [1, 1];
    new ResizeObserver(() => this.reshape()).observe(element);
    this.listen();
  }
  /* What a page does with a map: a model under the pointer, a click, another view, a line drawn around models. */
  onhover() {} onclick() {} onmove() {} onlasso() {}

  get scale() { return this.eye[2]; } // pixels per unit
  get centre() { return this.eye.slice(0, 2); }
  get whole() { const [width, height] = this.box; return Math.max(40, Math.min((width - 90) / this.span[0], (height - 104) / this.span[1])); }
  get home() { return [this.middle[0], this.middle[1] + 22 / this.whole, this.whole]; } // below the buttons
  get fitted() { return this.x.length === 0 || Math.abs(this.scale / this.whole - 1) < .02 && Math.hypot(this.eye[0] - this.home[0], this.eye[1] - this.home[1]) * this.scale < 3; }
  /* Where the eye is: a centre, and pixels per unit; both axes have one scale. */
  look(x, y, scale) {
    this.eye = [x, y, Math.min(Math.max(scale, this.whole * .4), this.whole * 4000)];
    this.now = Math.round(Math.min(15, this.size * Math.max(1, (this.scale / this.whole) ** .35))); // points grow a little
    this.frame();
    clearTimeout(this.later);
    this.later = setTimeout(() => { this.settle(); this.onmove(); }, 90);
  }
  fit() { this.look(...this.home); }
  pixel(i) { return this.project(this.x[i], this.y[i]); }
  project(x, y) { const [cx, cy, k] = this.eye, [width, height] = this.box; return [(x - cx) * k + width / 2, height / 2 - (y - cy) * k]; }
  place(px, py) { const [cx, cy, k] = this.eye, [width, height] = this.box; return [(px - width / 2) / k + cx, (height / 2 - py) / k + cy]; }
  inside([px, py], edge = 0) { const [width, height] = this.box; return px >= edge && py >= edge && px <= width - edge && py <= height - edge; }
  /* Nearer, with one pixel held where it is: that of the chosen model, of the pointer, or of the middle. */
  zoom(by, held = null) {
    const shown = this.chosen >= 0 && this.x.length && this.inside(this.pixel(this.chosen));
    const [px, py] = held || (shown ? this.pixel(this.chosen) : this.pointer || this.box.map(v => v / 2));
    const [x, y] = this.place(px, py), k = Math.min(Math.max(this.scale * by, this.whole * .4), this.whole * 4000), [width, height] = this.box;
    this.look(x - (px - width / 2) / k, y + (py - height / 2) / k, k);
  }
  reveal(i) { if (!this.inside(this.pixel(i), 30)) this.look(this.x[i], this.y[i], this.scale); }
  reshape(box = [this.element.clientWidth || 1, this.element.clientHeight || 1], ratio = Math.min(2, devicePixelRatio || 1)) {
    const fitted = this.fitted;
    Object.assign(this, { box, ratio });
    [this.canvas.width, this.canvas.height] = box.map(v => Math.max(1, Math.round(v * ratio)));
    this.picture = null;
    if (!this.x.length) return this.frame();
    if (fitted) this.fit(); else this.look(...this.eye);
    this.settle();
    this.draw();
  }

  places(space, column, columns) {
    this.x = space.x || []; this.y = space.y || [];
    const ends = v => v.reduce(([a, b], w) => [Math.min(a, w), Math.max(b, w)], [1, 0]);
    const [[left, right], [low, high]] = [ends(this.x), ends(this.y)];
    this.span = [Math.max(.05, right - left), Math.max(.05, high - low)];
    this.middle = [(right + left) / 2, (high + low) / 2];
    this.index = new Places(this.x, this.y);
    this.clusters = this.x.length && column.labels.length > 1 ? setApart(clustersOf(this.index, column.of, column.labels), columns) : [];
    this.fit();
  }
  paint(looks, kept) {
    Object.assign(this, { kept, looks, ink: Object.fromEntries(["page", "text", "link", "accent", "ring"].map(k => [k, css(`--${k}`)])) });
    for (const part of this.clusters) part.left = kept ? part.members.filter(i => kept[i]).length : part.members.length;
    this.settle();
    this.frame();
  }
  get marked() { return this.chosen >= 0 && this.x.length ? [this.chosen, ...this.near] : []; }
  get spokes() { return this.marked.slice(1).map(j => [this.chosen, j]); }
  link(pairs) { this.pairs = pairs; this.frame(); }
  choose(i, near) { Object.assign(this, { chosen: i, near }); this.label(); this.frame(); }
  point(i) { if (i !== this.hovered) { this.hovered = i; this.frame(false); } }

  /* Points as they lie: those that are left out below; what is chosen makes the rest step back. */
  get alpha() { return this.chosen < 0 ? (this.count > 5000 ? .85 : 1) : this.count > 1000 ? .3 : .6; }
  *layers() {
    if (!this.x.length) return;
    if (this.kept) for (const i of this.order) if (!this.kept[i]) yield [i, .1];
    for (const i of this.order) if (!this.kept || this.kept[i]) yield [i, this.alpha];
  }
  /* In the next frame; points are drawn anew only where they have changed, and what lies above them always. */
  frame(points = true) {
    this.stale ||= points;
    this.waiting ||= requestAnimationFrame(() => { this.waiting = 0; this.draw(this.stale); });
  }
  draw(points = true) {
    const { pen, ink, ratio, canvas, looks } = this;
    if (!ink) return;
    this.stale = false;
    const line = (pairs, colour, width, alpha) => {
      Object.assign(pen, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha });
      pen.beginPath();
      for (const [i, j] of pairs) { pen.moveTo(...this.pixel(i)); pen.lineTo(...this.pixel(j)); }
      pen.stroke();
      pen.globalAlpha = 1;
    };
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    points ||= !this.picture;
    if (!points); else if (this.pairs.length) {
      pen.fillStyle = ink.page;
      pen.fillRect(0, 0, ...this.box);
      line(this.pairs, ink.link, 1, .55);
      this.picture = pen.getImageData(0, 0, canvas.width, canvas.height);
    } else {
      this.picture ||= new ImageData(canvas.width, canvas.height);
      const [r, g, b] = rgb(ink.page);
      new Uint32Array(this.picture.data.buffer).fill((255 << 24 | b << 16 | g << 8 | r) >>> 0);
    }
    if (points) this.stamps();
    pen.putImageData(this.picture, 0, 0);
    line(this.spokes, ink.accent, 1.6, 1);
    const point = i => {
      const [px, py] = this.pixel(i), by = this.now / 12;
      pen.save();
      pen.translate(px - 8 * by, py - 8 * by);
      pen.scale(by, by);
      shape(pen, looks.styles[looks.style[i]][1], looks.styles[looks.style[i]][0], ink.text, .8 / by);
      pen.restore();
    };
    const ring = (i, more, width) => {
      Object.assign(pen, { strokeStyle: ink.ring, lineWidth: width });
      pen.beginPath();
      pen.arc(...this.pixel(i), (this.now + more) / 2, 0, 7);
      pen.stroke();
    };
    for (const i of this.marked.reverse()) { point(i); ring(i, i === this.chosen ? 10 : 5, i === this.chosen ? 3 : 1.5); }
    if (this.hovered >= 0 && this.x.length) { point(this.hovered); ring(this.hovered, 6, 2); }
    for (const word of this.words) {
      const [px, py] = this.spot(word);
      Object.assign(pen, { font: word.font, textAlign: word.align, textBaseline: "middle", strokeStyle: ink.page, fillStyle: ink.text, lineWidth: 3, lineJoin: "round" });
      pen.strokeText(word.text, px, py);
      pen.fillText(word.text, px, py);
    }
    if (this.lasso) {
      Object.assign(pen, { strokeStyle: ink.accent, lineWidth: 1.5 });
      pen.beginPath();
      for (const [x, y] of this.lasso) pen.lineTo(...this.project(x, y));
      pen.closePath();
      pen.stroke();
    }
  }
  stamps() {
    const { x, y, ratio, looks: { styles, style }, now, kept, order, picture, box } = this, [cx, cy, scale] = this.eye;
    if (!x.length) return;
    const pixels = new Uint32Array(picture.data.buffer), { width, height } = picture, k = scale * ratio, left = box[0] * ratio / 2, top = box[1] * ratio / 2;
    const sprites = styles.map(([colour, marker]) => sprite(marker, colour, this.edge ? this.ink.text : null, now, ratio));
    const some = (only, alpha) => {
      const dies = sprites.map(made => die(made, width, alpha));
      for (let n = 0; n < order.length; n++) {
        const i = order[n];
        if (!kept || kept[i] === only) stamp(pixels, width, height, dies[style[i]], (x[i] - cx) * k + left, top - (y[i] - cy) * k);
      }
    };
    if (kept) some(0, .1);
    some(1, this.alpha);
  }

  /* After a move: names appear where there is room. */
  settle() { this.label(); this.frame(false); }
  spot({ x, y, dx, dy }) { const [px, py] = this.project(x, y); return [px + dx, py + dy]; }
  label() {
    this.words = [];
    if (!this.x.length || !this.ink) return;
    const { pen, box: [width, height], now } = this, taken = [[width - 196, 0, width, 52]];
    const [left, low] = this.place(0, height), [right, high] = this.place(width, 0);
    const covered = ([a, b, c, d], more = -2) => { const r = now / 2 + more, [x0, y0] = this.place(a - r, d + r), [x1, y1] = this.place(c + r, b - r); return this.index.some([x0, y0, x1, y1], () => true); };
    /* Beside a place, in the first of its tries that is free; a must takes the one that lies in the map. */
    const write = (text, x, y, { tries, font, free, must, cluster }) => {
      pen.font = font;
      const long = pen.measureText(text).width + 4, [px, py] = this.project(x, y);
      for (const last of must ? [false, true] : [false]) for (const [dx, dy, align] of tries) {
        const from = px + dx - (align === "left" ? 0 : align === "right" ? long : long / 2), box = [from, py + dy - 9, from + long, py + dy + 9];
        const within = box[0] > 2 && box[2] < width - 2 && box[1] > 2 && box[3] < height - 2;
        if (!within && !(last && long > width - 4)) continue;
        if (!last && (taken.some(t => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1]) || !free(box))) continue;
        taken.push(box);
        this.words.push({ text, x, y, dx, dy, align, font, cluster });
        return true;
      }
      return false;
    };
    const must = this.marked, away = now / 2 + 6, beside = [[away, 0, "left"], [-away, 0, "right"], [0, -away - 7, "center"], [0, away + 7, "center"]];
    const from = more => beside.map(([dx, dy, align]) => [dx + Math.sign(dx) * more, dy + Math.sign(dy) * more, align]);
    const name = (i, options) => write(this.names[i].slice(this.start.length), this.x[i], this.y[i], { tries: from(i === this.chosen ? 6 : must.includes(i) ? 2 : 0), font: `12px ${FONT}`, free: () => true, ...options });
    for (const i of must) { const [px, py] = this.pixel(i), r = now / 2 + (i === this.chosen ? 6 : 3); taken.push([px - r, py - r, px + r, py + r]); }
    if (must.length && this.inside(this.pixel(must[0]))) name(must[0], { must: true, font: `600 12px ${FONT}` });
    for (const i of must.slice(1)) if (this.inside(this.pixel(i))) name(i);
    const seen = [];
    this.index.some([left, low, right, high], i => { if (!this.kept || this.kept[i]) seen.push(i); return seen.length > MOST_NAMES; });
    const names = () => { if (seen.length <= MOST_NAMES) for (const i of seen.sort((a, b) => a - b)) if (!must.includes(i)) name(i, { free: box => !covered(box) }); };
    const groups = () => {
      for (const part of this.clusters.slice(0, MOST_CLUSTERS)) {
        const at = this.project(part.x, part.y);
        const tries = [[0, -now - 16, "center"], [0, now + 16, "center"], [now + 8, 0, "left"], [-now - 8, 0, "right"]], how = { tries, cluster: true, font: `600 13px ${FONT}` };
        const clear = more => write(part.text, part.x, part.y, { ...how, free: box => !covered(box, more) });
        // Best far from points of others; else close to them, and over them, where these are many and not named one by one.
        const few = this.count <= 45, named = this.words.some(word => word.text === part.text); // a model that is a domain of its own
        if (part.left && !named && this.inside(at) && !(few && part.best.length < 2)) clear(6) || !few && (clear(-2) || write(part.text, part.x, part.y, { ...how, free: () => true }));
      }
    };
    if (this.count <= 45) { names(); groups(); } else { groups(); names(); }
  }

  /* The model under a pixel, and the nearest one in a direction. */
  at(sx, sy, reach = NEAR) {
    let best = -1, least = reach ** 2;
    if (!this.x.length) return best;
    const [x0, y0] = this.place(sx - reach, sy + reach), [x1, y1] = this.place(sx + reach, sy - reach);
    this.index.some([x0, y0, x1, y1], i => {
      if (this.kept && !this.kept[i]) return;
      const [px, py] = this.pixel(i), far = (px - sx) ** 2 + (py - sy) ** 2;
      if (far < least && this.inside([px, py])) [best, least] = [i, far];
    });
    return best;
  }
  towards(from, ux, uy) {
    let best = from, least = Infinity;
    for (let i = 0; i < this.x.length; i++) {
      if (i === from || (this.kept && !this.kept[i])) continue;
      const dx = this.x[i] - this.x[from], dy = this.y[i] - this.y[from], along = dx * ux + dy * uy, across = Math.abs(dx * uy - dy * ux);
      if (along > 0 && along >= across * .5 && along + 2 * across < least) [best, least] = [i, along + 2 * across];
    }
    return best;
  }

  /* One finger or the mouse drags, two fingers zoom, Shift or the tool draws around models. */
  listen() {
    const { canvas } = this, held = new Map(), spot = e => [e.offsetX, e.offsetY];
    let from = null, moved = 0;
    canvas.addEventListener("pointerdown", e => {
      if (e.button) return;
      canvas.setPointerCapture(e.pointerId);
      held.set(e.pointerId, spot(e));
      if (held.size === 1) [from, moved] = [spot(e), 0];
      this.lasso = held.size === 1 && (e.shiftKey || this.drawing) && this.x.length ? [this.place(...spot(e))] : null;
      this.onhover(-1);
    });
    canvas.addEventListener("pointermove", e => {
      const [px, py] = this.pointer = spot(e), before = held.get(e.pointerId);
      if (!before) return e.pointerType === "mouse" ? this.hover() : undefined;
      const others = [...held.keys()].filter(id => id !== e.pointerId).map(id => held.get(id));
      held.set(e.pointerId, [px, py]);
      moved = Math.max(moved, Math.hypot(px - from[0], py - from[1]));
      if (!this.x.length || (moved < 4 && !others.length)) return;
      if (this.lasso) { this.lasso.push(this.place(px, py)); return this.frame(false); }
      const [x, y, k] = this.eye;
      if (!others.length) return this.look(x - (px - before[0]) / k, y + (py - before[1]) / k, k);
      const [ox, oy] = others[0], apart = p => Math.max(10, Math.hypot(p[0] - ox, p[1] - oy));
      this.look(x - (px - before[0]) / 2 / k, y + (py - before[1]) / 2 / k, k);
      this.zoom(apart([px, py]) / apart(before), [(px + ox) / 2, (py + oy) / 2]);
    });
    const end = e => {
      if (!held.delete(e.pointerId) || held.size) return;
      const { lasso } = this;
      this.lasso = null;
      if (moved < 4 && e.type === "pointerup") this.onclick(this.at(...spot(e), 22));
      else if (lasso?.length > 2) this.onlasso(lasso);
      this.frame();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.onhover(-1); });
    canvas.addEventListener("wheel", e => {
      e.preventDefault();
      if (this.x.length) this.zoom(Math.exp(-Math.max(-300, Math.min(300, e.deltaY * (e.deltaMode ? 16 : 1))) * .0016), spot(e));
      this.onhover(-1);
    }, { passive: false });
  }
  hover() { const i = this.at(...this.pointer); if (i !== this.hovered) this.onhover(i); }
}
