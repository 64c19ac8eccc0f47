/** Finds models by any part of their id, without regard to letter case: whole ids first, then beginnings, then the rest. */

export class Search {
  private text = "\n";
  private readonly starts: number[] = [];

  /** Take in ids that are not yet known; they keep their order. */
  add(ids: readonly string[]): void {
    const parts: string[] = [];
    let length = this.text.length;
    for (let at = this.starts.length; at < ids.length; at++) {
      const part = folded(ids[at]) + "\n";
      this.starts.push(length);
      length += part.length;
      parts.push(part);
    }
    this.text += parts.join("");
  }

  /** Number of the model with just this id, or -1; letter case counts where several differ in nothing else. */
  exact(id: string, ids: readonly string[]): number {
    const needle = `\n${folded(id)}\n`;
    let found = -1;
    for (let at = this.text.indexOf(needle); at >= 0; at = this.text.indexOf(needle, at + 1)) {
      const number = this.numberAt(at + 1);
      if (ids[number] === id) return number;
      if (found < 0) found = number;
    }
    return found;
  }

  /** Numbers of models whose id holds the text, at most `limit`. */
  find(text: string, limit: number): number[] {
    const needle = folded(text.trim());
    if (!needle) return [];
    const found = new Set<number>();
    for (const form of [`\n${needle}\n`, `\n${needle}`, `/${needle}`, needle]) {
      for (let at = this.text.indexOf(form); at >= 0 && found.size < limit; ) {
        const number = this.numberAt(form.startsWith("\n") ? at + 1 : at);
        found.add(number);
        at = this.text.indexOf(form, (this.starts[number + 1] ?? this.text.length) - 1);
      }
    }
    return [...found];
  }

  /** The id that a place of the text belongs to. */
  private numberAt(place: number): number {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function folded(text: string): string {
  return text.toLowerCase().replace(/\n/g, " ");
}
