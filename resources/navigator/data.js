/* The blocks of the page, and what is asked of them. */
const one = (query, from = document) => from.querySelector(query);
const STEP = 10000, NONE = -32768;

async function unpack(id) {
  const letters = atob(one(`#${id}`).textContent), packed = new Uint8Array(letters.length);
  for (let k = 0; k < packed.length; k++) packed[k] = letters.charCodeAt(k);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
const json = async id => JSON.parse(new TextDecoder().decode(await unpack(id)));

/* One embedding space: places on the map, silhouettes, neighbours and their similarities. */
async function readSpace(about, count) {
  const data = new Uint8Array(await unpack(`space-${about.space}`)), { ranks } = about;
  let at = 0;
  // Numbers stand in planes: all first bytes, then all second ones.
  const take = (Kind, length) => {
    const made = new Kind(length), bytes = new Uint8Array(made.buffer), size = Kind.BYTES_PER_ELEMENT;
    for (let b = 0; b < size; b++) for (let k = 0; k < length; k++) bytes[k * size + b] = data[at++];
    return made;
  };
  const space = { ...about };
  if (about.map) {
    const places = Float64Array.from(take(Uint16Array, 2 * count), v => v / 65535);
    Object.assign(space, { x: places.subarray(0, count), y: places.subarray(count) });
  }
  if (!ranks) return space;
  space.silhouettes = take(Int16Array, count);
  space.neighbours = take(count <= 65536 ? Uint16Array : Uint32Array, count * ranks);
  space.similarities = take(Int16Array, count * ranks);
  for (let k = 0; k < space.similarities.length; k++) {
    space.neighbours[k] += Math.floor(k / ranks); // kept as the way from the model; both wrap around
    if (k % ranks) space.similarities[k] = space.similarities[k - 1] - space.similarities[k];
  }
  if (about.all) space.pairs = take(Int16Array, count * (count - 1) / 2);
  space.most = space.similarities.reduce((a, b) => Math.max(a, b));
  space.least = space.similarities.reduce((a, b) => Math.min(a, b));
  return space;
}

/* Pairs of neighbours, each once, the most similar first. */
function linksOf({ ranks, neighbours, similarities }) {
  const has = (i, j) => { for (let k = i * ranks; k < (i + 1) * ranks; k++) if (neighbours[k] === j) return true; return false; };
  const all = [];
  for (let k = 0; k < neighbours.length; k++) {
    const i = Math.floor(k / ranks), j = neighbours[k];
    if (i < j || !has(j, i)) all.push(k);
  }
  return Uint32Array.from(all).sort((a, b) => similarities[b] - similarities[a] || a - b);
}
const silhouette = (space, i) => space.silhouettes && space.silhouettes[i] !== NONE ? space.silhouettes[i] / STEP : null;
const signed = (value, digits = 2) => value === null ? "–" : value.toFixed(digits).replace("-", "−");

/* A card: the lines that many share, with those of its own, and its name in its places. */
function cardOf(behind, name, i) {
  const [template, ...own] = behind.cards[i];
  return behind.templates[template].map(line => line === null ? own.shift() : line).join("\n").replaceAll("\0", name);
}

/* What the names of all models begin with, up to a sign that parts words. */
function sharedStart(names) {
  let start = names.length > 1 ? names[0] : "";
  for (const name of names) while (!name.startsWith(start)) start = start.slice(0, -1);
  start = start.slice(0, Math.max(...[..."-._+"].map(sign => start.lastIndexOf(sign))) + 1);
  return names.some(name => name === start) ? "" : start;
}
