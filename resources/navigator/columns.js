/* Columns that models are coloured by: labels, or numbers with their range. */
function columnsOf(pool, state) {
  const kinds = { domain: { title: "Domain", ...pool.domain }, recipe: { title: "Recipe", ...pool.recipe }, base: { title: "Base", ...pool.base } };
  for (const { key, ...column } of pool.columns) kinds[key] = column.date ? { ...column, raw: column.values, values: column.values.map(v => v === null ? null : Date.parse(v) / 864e5) } : column;
  kinds.silhouette = { title: "Silhouette", get values() { return pool.names.map((_, i) => silhouette(state.space, i)); } };
  kinds.chosen = { title: "Similarity to the chosen", get values() { return similarities(state.space, state.chosen, pool.names.length); } };
  return kinds;
}
/* Cosine similarities to one model; of a large pool, or of huge vectors, where one is among the nearest of the other, null elsewhere. */
function similarities(space, chosen, count) {
  const found = new Array(count).fill(null);
  if (chosen < 0 || !space.ranks) return found;
  if (space.pairs) for (let i = 0; i < count; i++) {
    const a = Math.min(i, chosen), b = Math.max(i, chosen);
    found[i] = space.pairs[a * (2 * count - a - 1) / 2 + b - a - 1] / STEP;
  } else for (let k = 0; k < space.neighbours.length; k++) {
    const i = Math.floor(k / space.ranks), j = space.neighbours[k];
    if (i === chosen) found[j] = space.similarities[k] / STEP;
    else if (j === chosen) found[i] = space.similarities[k] / STEP;
  }
  found[chosen] = 1;
  return found;
}
const SHADES = 48;
function rangeOf(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
  return low <= high ? [low, high] : null;
}
/* Looks by a number: styles of equal steps, and one for those that have none. */
function looksOfNumbers(values, colour) {
  const styles = Array.from({ length: SHADES + 1 }, (_, k) => [colour(k / SHADES), "circle"]);
  styles.push([legible("#888888"), "circle"]);
  return (low, high) => ({ styles, style: Uint16Array.from(values, v => v === null ? SHADES + 1 : Math.round((v - low) / Math.max(1e-12, high - low) * SHADES)) });
}
const shown = (kind, value) => kind.date ? new Date(value * 864e5).toISOString().slice(0, 10)
  : Math.abs(value) >= 1000 || Number.isInteger(value) ? Math.round(value).toLocaleString("en").replace("-", "−") : signed(value, 3);
