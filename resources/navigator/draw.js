/* Points as pixels, and the same map as SVG. */
const spriteCache = new Map();
function sprite(marker, colour, edge, size, ratio) {
  const key = [marker, colour, edge, size, ratio].join();
  if (!spriteCache.has(key)) {
    if (spriteCache.size > 4000) spriteCache.clear();
    const side = Math.ceil((size * 1.25 + 3) * ratio), canvas = document.createElement("canvas"), by = size / 12 * ratio;
    canvas.width = canvas.height = side;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.setTransform(by, 0, 0, by, side / 2 - 8 * by, side / 2 - 8 * by);
    shape(pen, marker, colour, edge, .8 * 12 / size);
    const { data } = pen.getImageData(0, 0, side, side), inked = [];
    for (let k = 0; k < side * side; k++) if (data[4 * k + 3]) inked.push(k % side, Math.floor(k / side), data[4 * k], data[4 * k + 1], data[4 * k + 2], data[4 * k + 3]);
    spriteCache.set(key, { side, inked: Uint8Array.from(inked) });
  }
  return spriteCache.get(key);
}
function shape(pen, marker, colour, edge, width) {
  const path = new Path2D(SHAPES[marker]);
  pen.fillStyle = colour;
  pen.fill(path);
  if (edge) { pen.strokeStyle = edge; pen.lineWidth = width; pen.stroke(path); }
}
/* A sprite for one picture and transparency: where each of its pixels goes, what it adds, what it leaves of what is there. */
function die({ side, inked }, width, alpha) {
  const n = inked.length / 6, made = { side, ways: new Int32Array(n), adds: new Uint32Array(n), leaves: new Uint16Array(n), inked };
  for (let k = 0; k < n; k++) {
    const [x, y, r, g, b, a] = inked.subarray(6 * k, 6 * k + 6), share = Math.round(a * alpha / 255 * 256);
    made.ways[k] = y * width + x;
    made.leaves[k] = 256 - share;
    made.adds[k] = (b * share >> 8 << 16 | g * share >> 8 << 8 | r * share >> 8) >>> 0;
  }
  return made;
}
/* A die onto the pixels of an opaque picture, around one of them; red and blue are worked out together. */
function stamp(pixels, width, height, { side, ways, adds, leaves, inked }, px, py) {
  const left = Math.round(px - side / 2), top = Math.round(py - side / 2), from = top * width + left;
  if (left <= -side || top <= -side || left >= width || top >= height) return;
  const inside = left >= 0 && top >= 0 && left + side <= width && top + side <= height;
  for (let k = 0; k < ways.length; k++) {
    if (!inside) {
      const x = left + inked[6 * k], y = top + inked[6 * k + 1];
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
    }
    const at = from + ways[k], there = pixels[at], leave = leaves[k];
    pixels[at] = (adds[k] + (Math.imul(there & 0xff00ff, leave) >>> 8 & 0xff00ff) + (Math.imul(there >>> 8 & 0xff, leave) & 0xff00)) | 0xff000000;
  }
}

const escaped = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "");
const tenth = v => Math.round(v * 10) / 10;
/* The map as it is seen, with its title and legend below; text stays text. */
function svgOf(map, title, legend) {
  const [width, height] = map.box, { styles, style } = map.looks, { ink } = map, size = map.now, parts = [];
  const line = (pairs, colour, wide, alpha) => pairs.forEach(([i, j]) => {
    const [a, b] = [map.pixel(i), map.pixel(j)].map(p => p.map(tenth));
    parts.push(`<path d="M${a}L${b}" stroke="${colour}" stroke-width="${wide}" stroke-opacity="${alpha}"/>`);
  });
  line(map.pairs, ink.link, 1, .55);
  for (const [i, alpha] of map.layers()) {
    const [px, py] = map.pixel(i).map(tenth);
    if (px < -size || py < -size || px > width + size || py > height + size) continue;
    parts.push(`<use href="#s${style[i]}" x="${px}" y="${py}"${alpha < 1 ? ` opacity="${alpha}"` : ""}/>`);
  }
  line(map.spokes, ink.accent, 1.6, 1);
  for (const i of [...map.marked].reverse()) {
    const [px, py] = map.pixel(i).map(tenth), first = i === map.chosen;
    parts.push(`<use href="#s${style[i]}" x="${px}" y="${py}"/><circle cx="${px}" cy="${py}" r="${(size + (first ? 10 : 5)) / 2}" fill="none" stroke="${ink.ring}" stroke-width="${first ? 3 : 1.5}"/>`);
  }
  for (const word of map.words) {
    const [px, py] = map.spot(word).map(tenth), bold = word.cluster ? ` font-weight="600" font-size="13"` : "";
    parts.push(`<text x="${px}" y="${py}" dy=".35em" text-anchor="${{ left: "start", right: "end", center: "middle" }[word.align]}"${bold} paint-order="stroke" stroke="${ink.page}" stroke-width="3" stroke-linejoin="round">${escaped(word.text)}</text>`);
  }
  const draw = ([colour, marker]) => `<path d="${SHAPES[marker]}" fill="${colour}"${map.edge ? ` stroke="${ink.text}" stroke-width="${tenth(9.6 / size)}"` : ""} transform="scale(${Math.round(size / 12 * 1000) / 1000}) translate(-8 -8)"/>`;
  const key = [];
  let x = 12, y = height + 18;
  for (const { look, text } of legend) {
    const wide = text.length * 7 + 30;
    if (x > 12 && x + wide > width) { x = 12; y += 20; }
    if (look) key.push(`<path d="${SHAPES[look[1]]}" fill="${look[0]}" transform="translate(${x} ${y - 8})"/>`);
    key.push(`<text x="${x + (look ? 20 : 0)}" y="${y}" dy=".35em">${escaped(text)}</text>`);
    x += wide;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 34}" viewBox="0 -20 ${width} ${y + 34}" font-family="system-ui, sans-serif" font-size="12" fill="${ink.text}">`
    + `<title>${escaped(title)}</title><rect y="-20" width="100%" height="100%" fill="${ink.page}"/><text x="12" y="-6">${escaped(title)}</text>`
    + `<defs><clipPath id="view"><rect width="${width}" height="${height}"/></clipPath>${styles.map((s, k) => `<g id="s${k}">${draw(s)}</g>`).join("")}</defs>`
    + `<g clip-path="url(#view)" fill="${ink.text}">${parts.join("")}</g>${key.join("")}</svg>\n`;
}
