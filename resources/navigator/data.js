/* The blocks of the page, and what is asked of them. */
const one = (query, from = document) => from.querySelector(query);
Bokeh.logger.set_level("warn");
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
  const data = await unpack(`space-${about.space}`), small = count <= 65536;
  let at = 0;
  const take = (Kind, length) => { const part = data.slice(at, at += length * Kind.BYTES_PER_ELEMENT); return new Kind(part); };
  const space = { ...about };
  if (about.map) {
    space.x = Float64Array.from(take(Uint16Array, count), v => v / 65535);
    space.y = Float64Array.from(take(Uint16Array, count), v => v / 65535);
  }
  if (!about.ranks) return space;
  space.silhouettes = take(Int16Array, count);
  space.neighbours = take(small ? Uint16Array : Uint32Array, count * about.ranks);
  space.similarities = take(Int16Array, count * about.ranks);
  for (let k = 0; k < space.similarities.length; k++)
    if (k % about.ranks) space.similarities[k] = space.similarities[k - 1] - space.similarities[k];
  space.links = linksOf(space, count);
  return space;
}

/* Pairs of neighbours, each once, the most similar first. */
function linksOf({ ranks, neighbours, similarities }, count) {
  const seen = new Set(), all = [];
  for (let k = 0; k < neighbours.length; k++) {
    const i = Math.floor(k / ranks), j = neighbours[k], key = Math.min(i, j) * count + Math.max(i, j);
    if (!seen.has(key)) { seen.add(key); all.push(k); }
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
