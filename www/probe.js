// Asks the server and reports what came back. Knows nothing of the page.

/** The parts of a response that fetch shows: status, fields, body bytes, time taken. */
async function ask(path, method, fields = {}) {
  const begun = performance.now();
  // "no-store" keeps the browser's own cache out of it, both ways: what
  // arrives here is what the server sent, a 304 included.
  const answer = await fetch(path, { method, headers: fields, cache: "no-store" });
  const body = new Uint8Array(await answer.arrayBuffer());
  return {
    request: { method, path, fields },
    status: answer.status,
    reason: answer.statusText,
    fields: answer.headers,
    body,
    took: performance.now() - begun,
  };
}

/** The head of a page, without its body. */
export function head(path) {
  return ask(path, "HEAD");
}

/** The page, unless it is still the version with this tag. */
export function ifChanged(path, etag) {
  return ask(path, "GET", { "If-None-Match": etag });
}

/** The bytes from first to last, both included. */
export function range(path, first, last) {
  return ask(path, "GET", { Range: `bytes=${first}-${last}` });
}

/** Bytes as pairs of hex digits. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
}
