/* Where points are, in a grid of cells: what lies under a box is found without looking at all of them. */
class Places {
  constructor(x, y) {
    const n = x.length, side = Math.min(512, Math.max(1, Math.round(Math.sqrt(n / 3))));
    Object.assign(this, { x, y, side, starts: new Uint32Array(side * side + 1), members: new Uint32Array(n) });
    const cells = Uint32Array.from(x, (_, i) => this.cell(y[i]) * side + this.cell(x[i]));
    for (const cell of cells) this.starts[cell + 1]++;
    for (let k = 0; k < side * side; k++) this.starts[k + 1] += this.starts[k];
    const next = this.starts.slice();
    cells.forEach((cell, i) => { this.members[next[cell]++] = i; });
  }
  cell(v) { return Math.min(this.side - 1, Math.max(0, Math.floor(v * this.side))); }
  /* Whether a look at the points in a box ended early, as `look` gave true. */
  some([left, low, right, high], look) {
    const { x, y, side, starts, members } = this;
    const [c0, c1, r0, r1] = [left, right, low, high].map(v => this.cell(v));
    for (let r = r0; r <= r1; r++)
      for (let k = starts[r * side + c0]; k < starts[r * side + c1 + 1]; k++) {
        const i = members[k];
        if (x[i] >= left && x[i] <= right && y[i] >= low && y[i] <= high && look(i)) return true;
      }
    return false;
  }
}

/* Clusters of each label on the map: its points in cells that touch, the largest first. */
function clustersOf(places, of, labels) {
  const { x, y } = places, counts = labels.map(() => 0), found = [];
  for (const k of of) counts[k]++;
  const side = Math.min(24, Math.max(4, Math.round(1.5 * Math.sqrt(x.length / labels.length))));
  const grids = labels.map(() => new Map()), cell = v => Math.min(side - 1, Math.floor(v * side));
  x.forEach((_, i) => {
    const key = cell(y[i]) * side + cell(x[i]), grid = grids[of[i]];
    if (grid.has(key)) grid.get(key).push(i); else grid.set(key, [i]);
  });
  grids.forEach((grid, label) => {
    const parts = [];
    for (const first of [...grid.keys()]) {
      if (!grid.has(first)) continue;
      const queue = [first], members = [];
      let best = [];
      while (queue.length) {
        const at = queue.pop(), here = grid.get(at);
        if (!here) continue;
        grid.delete(at);
        members.push(...here);
        if (here.length > best.length) best = here;
        for (const dr of [-1, 0, 1]) for (const dc of [-1, 0, 1]) {
          const r = Math.floor(at / side) + dr, c = at % side + dc;
          if (r >= 0 && c >= 0 && r < side && c < side && grid.has(r * side + c)) queue.push(r * side + c);
        }
      }
      parts.push({ label, members, best });
    }
    parts.sort((a, b) => b.members.length - a.members.length);
    found.push(...parts.filter((part, k) => !k || part.members.length >= Math.max(3, .15 * counts[label])).slice(0, 4));
  });
  for (const part of found) {
    const mean = v => part.best.reduce((sum, i) => sum + v[i], 0) / part.best.length, [mx, my] = [mean(x), mean(y)];
    const heart = part.best.reduce((a, b) => Math.hypot(x[a] - mx, y[a] - my) <= Math.hypot(x[b] - mx, y[b] - my) ? a : b);
    Object.assign(part, { x: x[heart], y: y[heart], text: labels[part.label] });
  }
  return found.sort((a, b) => b.members.length - a.members.length);
}

/* Where a domain has several clusters, each also has what most of it has and most of the others have not. */
function setApart(clusters, columns) {
  for (const part of clusters) {
    const others = clusters.filter(c => c.label === part.label && c !== part).flatMap(c => c.members);
    let best = .5;
    if (others.length) for (const { labels, of } of columns) {
      const share = (members, k) => members.filter(i => of[i] === k).length / members.length;
      labels.forEach((text, k) => {
        const more = share(part.members, k) - share(others, k);
        if (more > best) { best = more; part.apart = text; }
      });
    }
    if (part.apart) part.text += ` · ${part.apart}`;
  }
  return clusters;
}
