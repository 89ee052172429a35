// Writes a ZIP archive of files that are stored as they are: pictures are compressed already.
// APPNOTE.TXT of PKWARE, version 6.3.10: sections 4.3.7, 4.3.12 and 4.3.16.

const VERSION = 20;
const UTF8_NAMES = 0x0800;
const MOST_FILES = 0xffff;
const MOST_BYTES = 0xffffffff;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

/** An archive of `{name, blob, time}`, where `time` is a Date. Throws a RangeError for what a plain ZIP cannot hold. */
export async function zipOf(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob, time } of files) {
    const entry = entryOf(new TextEncoder().encode(name), time, blob.size, crc32(new Uint8Array(await blob.arrayBuffer())));
    const header = numbers([[0x04034b50, 4], ...entry.fields, [0, 2]], entry.name);
    parts.push(header, blob);
    // Comment, disk and attributes are empty.
    directory.push(numbers([[0x02014b50, 4], [VERSION, 2], ...entry.fields, [0, 2], [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]], entry.name));
    offset += header.length + blob.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  if (files.length > MOST_FILES || offset + size > MOST_BYTES) throw new RangeError("too large for a ZIP archive");
  const end = numbers([[0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** What both headers of a file have in common: from the version to the length of the name. */
function entryOf(name, time, size, checksum) {
  const clock = (time.getHours() << 11) | (time.getMinutes() << 5) | (time.getSeconds() >> 1);
  const day = ((time.getFullYear() - 1980) << 9) | ((time.getMonth() + 1) << 5) | time.getDate();
  const fields = [[VERSION, 2], [UTF8_NAMES, 2], [0, 2], [clock, 2], [day, 2], [checksum, 4], [size, 4], [size, 4], [name.length, 2]];
  return { name, fields };
}

/** Little-endian numbers, each with its bytes, and what follows them. */
function numbers(fields, after = new Uint8Array()) {
  const length = fields.reduce((sum, [, bytes]) => sum + bytes, 0);
  const view = new DataView(new ArrayBuffer(length));
  let place = 0;
  for (const [value, bytes] of fields) {
    if (bytes === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += bytes;
  }
  const whole = new Uint8Array(length + after.length);
  whole.set(new Uint8Array(view.buffer));
  whole.set(after, length);
  return whole;
}

function crc32(bytes) {
  let value = 0xffffffff;
  for (let place = 0; place < bytes.length; place += 1) value = TABLE[(value ^ bytes[place]) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
