// Pictures of the gallery as files: one as it is, several in an archive. Each has its receipt within.

import { imageAddress } from "../api.js";
import { h } from "../dom.js";
import { workers } from "../parallel.js";
import { zipOf } from "../zip.js";

const MOST_LETTERS = 60;

/** The name of a picture's file: its prompt, its seed, and the beginning of its UUID, so that no two are alike. */
function fileName({ prompt, seed, imageUUID, imageURL }) {
  const words = prompt.toLowerCase().normalize("NFC").split(/[^\p{L}\p{N}]+/u).filter(Boolean).join("-");
  const short = [...words].slice(0, MOST_LETTERS).join("").replace(/-$/, "");
  return [short, seed, imageUUID.slice(0, 8)].filter((part) => part !== "").join("-") + imageURL.slice(imageURL.lastIndexOf("."));
}

/**
 * Download pictures: one as a file, several as an archive. `progress(done)` is told how many have come. Returns how
 * many were gone meanwhile. Throws if the server does not answer.
 */
export async function download(images, progress) {
  if (images.length === 1) {
    save(imageAddress(images[0].imageURL), fileName(images[0]));
    return 0;
  }
  const files = [];
  let done = 0;
  const fetchOne = async ([place, image]) => {
    const response = await fetch(imageAddress(image.imageURL));
    if (response.ok) files[place] = { name: fileName(image), blob: await response.blob(), time: new Date(image.created * 1000) };
    else if (response.status !== 404) throw new Error(`${response.status} ${response.statusText}`);
    progress((done += 1));
  };
  await Promise.all(workers(images.entries(), fetchOne));
  const found = files.filter(Boolean);
  if (found.length) saveBlob(await zipOf(found), "ownware.zip");
  return images.length - found.length;
}

function save(href, name) {
  const link = h("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Save what the page has made as a file. */
export function saveBlob(blob, name) {
  const address = URL.createObjectURL(blob);
  save(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser reads it after the click
}
