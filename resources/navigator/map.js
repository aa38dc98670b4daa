/* The map: points, rings around what is chosen, links, labels; drawn by Bokeh. */
const MOST_LINKS = 4000, MOST_LABELS = 45, NEAR = 14;

class PoolMap {
  constructor(element, count) {
    Object.assign(this, { element, count, x: [], y: [], chosen: -1, near: [] });
    this.size = count <= 40 ? 15 : count <= 200 ? 11 : count <= 1000 ? 8 : count <= 5000 ? 6 : 4;
    const range = () => new Bokeh.Range1d({ start: 0, end: 1 });
    const wheel = new Bokeh.WheelZoomTool();
    this.plot = Bokeh.Plotting.figure({
      x_range: range(), y_range: range(), tools: [new Bokeh.PanTool(), wheel], toolbar_location: null,
      x_axis_type: null, y_axis_type: null, min_border: 0, sizing_mode: "stretch_both", output_backend: "webgl",
      background_fill_color: null, border_fill_color: null, outline_line_color: null,
    });
    this.plot.toolbar.active_scroll = wheel;
    const source = columns => new Bokeh.ColumnDataSource({ data: Object.fromEntries(columns.map(c => [c, []])) });
    const at = { x: { field: "x" }, y: { field: "y" } };
    const segment = { x0: { field: "x0" }, y0: { field: "y0" }, x1: { field: "x1" }, y1: { field: "y1" } };
    const points = ["x", "y", "colour", "marker"];
    this.sources = {
      links: source(["x0", "y0", "x1", "y1"]), back: source(points), front: source(points), near: source(points),
      spokes: source(["x0", "y0", "x1", "y1"]), rings: source(["x", "y", "size", "width"]),
      labels: source(["x", "y", "text", "dx", "dy", "align"]),
    };
    const marks = { ...at, marker: { field: "marker" }, fill_color: { field: "colour" }, size: this.size };
    const edge = count <= 1000 ? .8 : 0;
    this.parts = {
      links: this.plot.segment({ ...segment, source: this.sources.links, line_alpha: .55, line_width: 1 }),
      back: this.plot.scatter({ ...marks, source: this.sources.back, line_width: edge }),
      front: this.plot.scatter({ ...marks, source: this.sources.front, line_width: edge }),
      spokes: this.plot.segment({ ...segment, source: this.sources.spokes, line_width: 1.6 }),
      near: this.plot.scatter({ ...marks, source: this.sources.near, line_width: edge }),
      rings: this.plot.scatter({ ...at, source: this.sources.rings, size: { field: "size" }, fill_color: null, line_width: { field: "width" } }),
      labels: this.plot.text({ ...at, source: this.sources.labels, text: { field: "text" }, x_offset: { field: "dx" }, y_offset: { field: "dy" },
        text_align: { field: "align" }, text_baseline: "middle", text_font_size: "12px", text_font: "system-ui, sans-serif", background_fill_alpha: .75, padding: { x: 2, y: 0 }, border_radius: 3 }),
    };
    const { start, end } = this.plot.x_range.properties;
    this.plot.x_range.on_change([start, end], () => { clearTimeout(this.later); this.later = setTimeout(() => this.settle(), 90); });
    new ResizeObserver(() => this.reshape()).observe(element);
  }
  async show() { await Bokeh.Plotting.show(this.plot, this.element); }
  get box() { return [this.element.clientWidth || 1, this.element.clientHeight || 1]; }
  get scale() { return this.box[0] / (this.plot.x_range.end - this.plot.x_range.start); } // pixels per unit

  /* Where the eye is: a centre, and pixels per unit; both axes have one scale. */
  look(x, y, scale) {
    const [width, height] = this.box;
    scale = Math.min(Math.max(scale, this.whole * .4), this.whole * 4000);
    this.plot.x_range.setv({ start: x - width / scale / 2, end: x + width / scale / 2 });
    this.plot.y_range.setv({ start: y - height / scale / 2, end: y + height / scale / 2 });
  }
  get whole() { const [width, height] = this.box; return Math.max(40, Math.min((width - 90) / this.span[0], (height - 60) / this.span[1])); }
  get centre() { const { x_range: x, y_range: y } = this.plot; return [(x.start + x.end) / 2, (y.start + y.end) / 2]; }
  fit() { this.look(this.middle[0], this.middle[1], this.whole); }
  zoom(by) { this.look(...this.centre, this.scale * by); }
  reshape() {
    if (!this.x.length) return;
    const [width, height] = this.box, [x, y] = this.centre;
    const scale = (this.lastWidth || width) / (this.plot.x_range.end - this.plot.x_range.start);
    const fitted = this.lastWhole && Math.abs(scale / this.lastWhole - 1) < .02;
    if (fitted) this.fit(); else this.look(x, y, scale);
    [this.lastWidth, this.lastWhole] = [width, this.whole];
  }
  reveal(i) {
    const [width, height] = this.box, [px, py] = this.pixel(i), edge = 30;
    if (px < edge || py < edge || px > width - edge || py > height - edge) this.look(this.x[i], this.y[i], this.scale);
  }
  pixel(i) {
    const { x_range: x, y_range: y } = this.plot, [width, height] = this.box;
    return [(this.x[i] - x.start) / (x.end - x.start) * width, height - (this.y[i] - y.start) / (y.end - y.start) * height];
  }

  places(space) {
    this.x = space.x || []; this.y = space.y || [];
    const low = v => v.reduce((a, b) => Math.min(a, b), 1), high = v => v.reduce((a, b) => Math.max(a, b), 0);
    this.span = [Math.max(.05, high(this.x) - low(this.x)), Math.max(.05, high(this.y) - low(this.y))];
    this.middle = [(high(this.x) + low(this.x)) / 2, (high(this.y) + low(this.y)) / 2];
    this.fit();
    [this.lastWidth, this.lastWhole] = [this.box[0], this.whole];
  }
  paint(looks, kept) {
    Object.assign(this, { kept, looks });
    const all = Array.from(this.x.keys()), chosen = kept ? all.filter(i => kept[i]) : [];
    this.sources.back.data = this.rows(kept ? all.filter(i => !kept[i]) : all);
    this.sources.front.data = this.rows(chosen);
    for (const part of ["back", "front", "near"]) this.parts[part].glyph.setv({ line_color: css("--text") });
    this.dim();
    this.parts.links.glyph.setv({ line_color: css("--link") });
    this.parts.spokes.glyph.setv({ line_color: css("--accent") });
    this.parts.rings.glyph.setv({ line_color: css("--ring") });
    this.parts.labels.glyph.setv({ text_color: css("--text"), background_fill_color: css("--page") });
    this.settle();
  }
  rows(indices) {
    return { x: indices.map(i => this.x[i]), y: indices.map(i => this.y[i]),
      colour: indices.map(i => this.looks.colour(i)), marker: indices.map(i => this.looks.marker(i)) };
  }
  /* What is chosen stands out: the rest steps back. */
  dim() {
    const alpha = this.chosen < 0 ? (this.count > 5000 ? .85 : 1) : this.count > 1000 ? .3 : .6;
    const shade = (part, value) => this.parts[part].glyph.setv({ fill_alpha: value, line_alpha: value * .8 });
    shade("back", this.kept ? .1 : alpha);
    shade("front", alpha);
    shade("near", 1);
    this.sources.near.data = this.rows(this.marked.reverse());
  }
  get marked() { return this.chosen >= 0 && this.x.length ? [this.chosen, ...this.near] : []; }
  segments(pairs) {
    return { x0: pairs.map(([i]) => this.x[i]), y0: pairs.map(([i]) => this.y[i]),
      x1: pairs.map(([, j]) => this.x[j]), y1: pairs.map(([, j]) => this.y[j]) };
  }
  link(pairs) { this.sources.links.data = this.segments(pairs); }
  choose(i, near) {
    this.chosen = i; this.near = near;
    this.sources.spokes.data = this.segments(this.marked.slice(1).map(j => [i, j]));
    this.dim();
    this.rings();
    this.label();
  }
  rings() {
    const all = this.marked, size = this.now || this.size;
    this.sources.rings.data = { x: all.map(j => this.x[j]), y: all.map(j => this.y[j]),
      size: all.map((_, k) => size + (k ? 5 : 10)), width: all.map((_, k) => k ? 1.5 : 3) };
  }

  /* After a move: points grow a little with the zoom, names appear where there is room. */
  settle() {
    if (!this.x.length) { this.sources.labels.data = { x: [], y: [], text: [], dx: [], dy: [], align: [] }; return; }
    const now = Math.round(Math.min(15, this.size * Math.max(1, (this.scale / this.whole) ** .35)));
    if (now !== this.now) {
      this.now = now;
      for (const part of [this.parts.back, this.parts.front, this.parts.near]) part.glyph.setv({ size: now });
      this.rings();
    }
    this.label();
  }
  label() {
    const [width, height] = this.box, seen = [], rows = [];
    const must = this.marked, around = ([, px, py], r) => [px - r, py - r, px + r, py + r];
    for (let i = 0; i < this.x.length; i++) {
      if (this.kept && !this.kept[i]) continue;
      const [px, py] = this.pixel(i);
      if (px > 0 && py > 0 && px < width && py < height) seen.push([i, px, py]);
    }
    const few = seen.length <= MOST_LABELS ? seen.map(s => s[0]) : [];
    const taken = [[width - 140, 0, width, 56], ...must.map(i => around([i, ...this.pixel(i)], this.now / 2 + 2))];
    if (few.length) taken.push(...seen.map(s => around(s, 5)));
    const pen = PoolMap.pen ||= document.createElement("canvas").getContext("2d");
    pen.font = "12px system-ui, sans-serif";
    for (const i of new Set([...must, ...few])) {
      const [px, py] = this.pixel(i), long = pen.measureText(this.names[i]).width, away = this.now / 2 + 6;
      const tries = [[away, 0, "left"], [-away, 0, "right"], [0, -away - 7, "center"], [0, away + 7, "center"]];
      for (const [dx, dy, align] of tries) {
        const left = px + dx - (align === "left" ? 0 : align === "right" ? long : long / 2), top = py + dy - 8;
        const box = [left, top, left + long, top + 16];
        const free = box[0] > 2 && box[2] < width - 2 && box[1] > 2 && box[3] < height - 2
          && !taken.some(t => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1]);
        if (!free && !(i === this.chosen && align === (px > width / 2 ? "right" : "left"))) continue;
        taken.push(box);
        rows.push([this.x[i], this.y[i], this.names[i], dx, dy, align]);
        break;
      }
    }
    const column = k => rows.map(r => r[k]);
    this.sources.labels.data = { x: column(0), y: column(1), text: column(2), dx: column(3), dy: column(4), align: column(5) };
  }

  /* The model under a pixel, and the nearest one in a direction. */
  at(sx, sy, reach = NEAR) {
    let best = -1, least = reach ** 2;
    for (let i = 0; i < this.x.length; i++) {
      if (this.kept && !this.kept[i]) continue;
      const [px, py] = this.pixel(i), far = (px - sx) ** 2 + (py - sy) ** 2;
      if (far < least) [best, least] = [i, far];
    }
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
}
