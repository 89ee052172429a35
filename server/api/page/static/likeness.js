// How alike two pictures of the same size are: SSIM and PSNR, as the benchmarks of the server measure them.
//
// SSIM has the window of its paper (Wang et al. 2004): a Gaussian of 11 × 11 pixels with sigma 1.5, over each channel.
// tests/browser/test_likeness.py compares it with scikit-image's.

import { request } from "./api.js";
import { readPixels } from "./canvas.js";

const CHANNELS = 3;
const SUMS = 5;
const RADIUS = 5;
const SIGMA = 1.5;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;
export const PSNR_OF_EQUALS = 120; // equal pictures have no finite one
const SLICE_MILLISECONDS = 12; // between two pauses, so that the page stays quick
const WINDOW = weights();

/** The pixels of a picture at an address or in a Blob, as ImageData. Throws what `request` throws. */
export async function pixelsOf(source) {
  const blob = source instanceof Blob ? source : await (await request(source)).blob();
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const pixels = readPixels(bitmap, bitmap);
  bitmap.close();
  return pixels;
}

/**
 * `{ssim, psnr}` of two ImageData, or null as soon as `wanted()` is false. Throws for pictures of two sizes, or smaller
 * than the window.
 */
export async function likeness(one, other, wanted = () => true) {
  const { width, height } = one;
  if (width !== other.width || height !== other.height) throw new RangeError(`${width}×${height} and ${other.width}×${other.height} pixels`);
  if (Math.min(width, height) < WINDOW.length) throw new RangeError(`${width}×${height} pixels are too few`);
  const found = await ssim(one, other, wanted);
  return found === null ? null : { ssim: found, psnr: psnr(one.data, other.data) };
}

/** Only windows that lie within the picture count. */
async function ssim(one, other, wanted) {
  const { width, height } = one;
  const columns = width - 2 * RADIUS;
  const sums = rows(width);
  const moments = Array.from({ length: SUMS }, () => new Float64Array(columns));
  let total = 0;
  let began = performance.now();
  for (let channel = 0; channel < CHANNELS; channel += 1) {
    for (let y = 0; y < height; y += 1) {
      sums.add(one.data, other.data, y, channel);
      if (y >= 2 * RADIUS) total += rowOfSsim(sums, y, moments);
      if (performance.now() - began < SLICE_MILLISECONDS) continue;
      await new Promise((resolve) => setTimeout(resolve));
      if (!wanted()) return null;
      began = performance.now();
    }
  }
  return total / (CHANNELS * columns * (height - 2 * RADIUS));
}

function psnr(one, other) {
  let sum = 0;
  for (let place = 0; place < one.length; place += 4) {
    for (let channel = place; channel < place + CHANNELS; channel += 1) sum += (one[channel] - other[channel]) ** 2;
  }
  return sum === 0 ? PSNR_OF_EQUALS : 10 * Math.log10(255 ** 2 / (sum / ((one.length / 4) * CHANNELS)));
}

/** The window's sums of a, b, a², b² and ab along rows: those of the last rows, which the window covers. */
function rows(width) {
  const columns = width - 2 * RADIUS;
  const kept = WINDOW.map(() => Array.from({ length: SUMS }, () => new Float64Array(columns)));
  const values = Array.from({ length: SUMS }, () => new Float64Array(width));
  const [a, b, aa, bb, ab] = values;
  const add = (one, other, y, channel) => {
    for (let x = 0, place = 4 * y * width + channel; x < width; x += 1, place += 4) {
      const p = one[place];
      const q = other[place];
      a[x] = p;
      b[x] = q;
      aa[x] = p * p;
      bb[x] = q * q;
      ab[x] = p * q;
    }
    values.forEach((line, index) => weighWithin(line, kept[y % kept.length][index]));
  };
  /** The row `back` rows above the one that was added at `y`. */
  const at = (y, back) => kept[(y - back) % kept.length];
  return { add, at };
}

/** The window along a row. It is symmetric, and written out: this is where the time goes. */
function weighWithin(line, sums) {
  const [w0, w1, w2, w3, w4, w5] = WINDOW;
  for (let x = 0; x < sums.length; x += 1) {
    sums[x] =
      w0 * (line[x] + line[x + 10]) +
      w1 * (line[x + 1] + line[x + 9]) +
      w2 * (line[x + 2] + line[x + 8]) +
      w3 * (line[x + 3] + line[x + 7]) +
      w4 * (line[x + 4] + line[x + 6]) +
      w5 * line[x + 5];
  }
}

/** The window over the rows that it covers. */
function weighAcross([l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10], sums) {
  const [w0, w1, w2, w3, w4, w5] = WINDOW;
  for (let x = 0; x < sums.length; x += 1) {
    sums[x] = w0 * (l0[x] + l10[x]) + w1 * (l1[x] + l9[x]) + w2 * (l2[x] + l8[x]) + w3 * (l3[x] + l7[x]) + w4 * (l4[x] + l6[x]) + w5 * l5[x];
  }
}

/** The sum of the SSIM over the places whose window ends in a row. */
function rowOfSsim(sums, y, moments) {
  const covered = WINDOW.map((_, index) => sums.at(y, WINDOW.length - 1 - index));
  moments.forEach((line, index) => weighAcross(covered.map((row) => row[index]), line));
  const [a, b, aa, bb, ab] = moments;
  let total = 0;
  for (let x = 0; x < a.length; x += 1) {
    const product = a[x] * b[x];
    const squares = a[x] * a[x] + b[x] * b[x];
    total += ((2 * product + C1) * (2 * (ab[x] - product) + C2)) / ((squares + C1) * (aa[x] + bb[x] - squares + C2));
  }
  return total;
}

function weights() {
  const raw = Array.from({ length: 2 * RADIUS + 1 }, (_, index) => Math.exp(-((index - RADIUS) ** 2) / (2 * SIGMA ** 2)));
  const sum = raw.reduce((all, one) => all + one, 0);
  return raw.map((weight) => weight / sum);
}
