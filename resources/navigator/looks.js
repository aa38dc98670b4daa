/* Colours that stand out from the page in both schemes, and the shapes that go with them. */
const scheme = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const dark = { get matches() { return scheme.matches && !("light" in root.dataset); } }; // prints and figures are light
const inks = new Map(); // asked for once: a question to the style makes the browser work out all of it
function css(name) {
  const key = [name, dark.matches, "light" in root.dataset].join();
  if (!inks.has(key)) inks.set(key, getComputedStyle(root).getPropertyValue(name).trim());
  return inks.get(key);
}
const rgb = hex => [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16));
const hex = parts => "#" + parts.map(v => Math.round(v).toString(16).padStart(2, "0")).join("");
const mix = (a, b, share) => hex(rgb(a).map((v, k) => v + (rgb(b)[k] - v) * share));

function luminance(colour) {
  const [r, g, b] = rgb(colour).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
}
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const legibleCache = new Map();
function legible(colour) {
  const paper = css("--page"), key = colour + paper, least = dark.matches ? 4 : 2.1;
  if (!legibleCache.has(key)) {
    let share = 0, found = colour;
    while (contrast(found, paper) < least && share < .9) found = mix(colour, dark.matches ? "#ffffff" : "#000000", share += .1);
    legibleCache.set(key, found);
  }
  return legibleCache.get(key);
}

/* Numbers: from dark blue to yellow, which grey and colour-blind eyes read as dark to light (cividis). */
const RAMP = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];
function ramped(share) {
  if (share === null) return legible("#888888");
  const at = Math.min(RAMP.length - 1.001, Math.max(0, share) * (RAMP.length - 1)), k = Math.floor(at);
  const lifted = RAMP.map(colour => dark.matches ? mix(colour, "#ffffff", .28) : mix(colour, "#000000", .12));
  return mix(lifted[k], lifted[k + 1], at - k);
}

/* Silhouettes: vermilion below 0, blue above. */
const ENDS = ["#D55E00", "#0072B2"];
function scaled(value) {
  if (value === null) return legible("#888888");
  const middle = dark.matches ? "#e8e4dc" : "#c9c5bd", end = dark.matches ? mix(ENDS[+(value > 0)], "#ffffff", .25) : ENDS[+(value > 0)];
  return mix(middle, end, Math.min(1, Math.abs(value)));
}

const SHAPES = {
  circle: "M8 2a6 6 0 1 0 .01 0z", square: "M2.7 2.7h10.6v10.6H2.7z", triangle: "M8 1.8 14.4 13H1.6z",
  diamond: "M8 1.2 13.6 8 8 14.8 2.4 8z", inverted_triangle: "M8 14.2 1.6 3h12.8z",
  plus: "M5.8 2h4.4v3.8H14v4.4h-3.8V14H5.8v-3.8H2V5.8h3.8z",
  star: "M8 1l2 5h5l-4 3.2 1.5 5L8 11.2l-4.5 3 1.5-5L1 6h5z",
  hex: "M8 1.5 14 5v6l-6 3.5L2 11V5z",
};
function glyph(marker, colour) {
  const space = "http://www.w3.org/2000/svg", made = document.createElementNS(space, "svg"), path = document.createElementNS(space, "path");
  for (const [k, v] of Object.entries({ width: 13, height: 13, viewBox: "0 0 16 16", "aria-hidden": "true" })) made.setAttribute(k, v);
  path.setAttribute("d", SHAPES[marker]);
  path.setAttribute("fill", colour);
  made.append(path);
  return made;
}
