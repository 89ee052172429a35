// JSON with seeds of 63 bits. A number of JavaScript is exact up to 2^53 only, so a larger seed is a text of its digits.
//
// A quotation mark within a text of JSON is escaped, so both patterns match members only, and nothing of a prompt.

const IN_JSON = /"seed":(\s*)(\d{16,})(?=\s*[,}])/g;
export const SEED_AS_TEXT = /"seed":(\s*)"(\d{16,})"/g;

/** An integer as a number, or as its digits where a number is not exact. */
export const exact = (digits) => (/^\d+$/.test(digits) && !Number.isSafeInteger(Number(digits)) ? digits : Number(digits));

/** What `JSON.parse` returns, with exact seeds. */
export const parseJson = (text) => JSON.parse(text.replace(IN_JSON, (member, space, digits) => (exact(digits) === digits ? `"seed":${space}"${digits}"` : member)));

/** A text of JSON or Python in which all seeds are numbers. */
export const withNumbers = (text) => text.replace(SEED_AS_TEXT, '"seed":$1$2');
