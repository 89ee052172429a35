// The receipt that an image of this server carries, and the draft that makes the image again.

import { parseJson } from "./exact.js";
import { CACHES } from "./form/caches.js";
import { getInfo, modelOf } from "./info.js";

// Every container holds the receipt as plain ASCII, so its bytes are found without knowing the container.
const START = '{"format":1,"request":{';
const FAMILIES = {
  euler: "Euler", heun: "Heun", kdpm2: "KDPM2DiscreteScheduler", kdpm2_a: "KDPM2AncestralDiscreteScheduler", dpmpp_2m: "DPM++",
  dpmpp_3m: "DPM++ 3M", dpmpp_2s: "DPMSolverSinglestepScheduler", dpmpp_sde: "DPM++ SDE", dpmpp_2m_sde: "DPM++ 2M SDE",
  dpmpp_3m_sde: "DPM++ 3M SDE", unipc_2: "UniPC", unipc_3: "UniPC 3M", deis: "DEISMultistepScheduler", lms: "LMS",
  ipndm: "IPNDM", pndm: "PNDMScheduler", euler_a: "Euler a", lcm: "LCM", tcd: "TCDScheduler", ddpm: "DDPMScheduler",
};
const SPACINGS = {
  shifted: "", karras: " Karras", exponential: " Exponential", beta: " Beta", uniform: " Uniform",
  uniform_karras: " Uniform Karras", uniform_exponential: " Uniform Exponential", uniform_beta: " Uniform Beta",
};
export const SWITCHES = { fbcache: "fbCache", teacache: "teaCache", dbcache: "dbCache" };
const TEACACHE_SCALE = 0.6; // the score threshold is this part of teaCacheDistance

/** The receipt in a file, or null. */
export async function readReceipt(file) {
  const text = new TextDecoder("latin1").decode(await file.arrayBuffer());
  const start = text.indexOf(START);
  if (start < 0) return null;
  const whole = text.slice(start, endOfObject(text, start));
  // A WEBP holds it within XML, where three characters are written as entities.
  const plain = whole.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  try {
    return parseJson(text.startsWith("RIFF") ? plain : whole);
  } catch {
    return null;
  }
}

/** The forwards of a cache report with the number of their `evaluation`: some samplers call the model several times in a step. */
export function withEvaluations(forwards) {
  const counts = new Map();
  return forwards.map((forward) => {
    const name = `${forward.step} ${forward.branch}`;
    const evaluation = counts.get(name) ?? 0;
    counts.set(name, evaluation + 1);
    return { ...forward, evaluation };
  });
}

/** The draft of a receipt, and how many input pictures it cannot have: a receipt names them by their hashes only. */
export function draftOf({ request, encoding }) {
  const { sampler, cache, outpaint, guard } = request;
  const info = getInfo();
  const known = (rows, list) => rows.filter((row) => list.some((one) => one.air === row.name));
  const draft = {
    model: modelOf({ model: request.model })?.air ?? request.model,
    positivePrompt: request.prompt,
    negativePrompt: request.negative_prompt ?? undefined,
    width: request.width,
    height: request.height,
    steps: request.steps,
    CFGScale: Math.max(1, request.true_cfg_scale),
    seed: request.seed,
    scheduler: schedulerName(sampler),
    outputFormat: encoding[0] === "JPG" ? undefined : encoding[0],
    lora: known(request.loras, info.loras).map(({ name, weight }) => ({ model: name, weight })),
    acceleratorOptions: cache && SWITCHES[cache.strategy] ? cacheOptions(cache) : undefined,
    inputs: request.seed_image ? { strength: request.strength } : undefined,
    maskMargin: request.mask_margin ?? undefined,
    outpaint: outpaint ?? undefined,
    ownware: guard ? guardOptions(guard) : undefined,
  };
  const pictures = [...request.references, request.seed_image, request.mask, ...request.controls.map((control) => control.guide), guard?.keep !== "auto" && guard?.keep];
  const filled = Object.entries(draft).filter(([, value]) => value !== undefined && !(Array.isArray(value) && !value.length));
  return { draft: Object.fromEntries(filled), missing: pictures.filter(Boolean).length };
}

/** The options of a drift guard. A mask is a picture, so it has to be added again. */
function guardOptions({ reference, align, keep }) {
  const options = { ...(align && { alignTo: reference ?? "seedImage" }), ...(keep === "auto" && { keepUnchanged: keep }) };
  return Object.keys(options).length ? options : undefined;
}

/** The API's name of a solver and a spacing. The model's own needs none. */
export function schedulerName({ integrator, spacing }) {
  if (integrator === "euler" && spacing === "shifted") return undefined;
  if (integrator === "ipndm" && spacing === "shifted") return "IPNDMScheduler";
  return FAMILIES[integrator] + SPACINGS[spacing];
}

function cacheOptions({ strategy, threshold, start, end, max_run: run }) {
  const knob = strategy === "teacache" ? threshold / TEACACHE_SCALE : wireThreshold(threshold);
  const hundredths = Math.min(1, Math.max(0, Math.round(knob * 100) / 100));
  const name = SWITCHES[strategy];
  return { [name]: true, [CACHES[name].knob]: hundredths, cacheStartStep: start, cacheEndStep: end, cacheMaxConsecutiveSteps: run };
}

/** The inverse of how the server reads fbCacheThreshold and dbCacheThreshold (docs/reference/step-caches.md). */
function wireThreshold(threshold) {
  if (getInfo().thresholdDirection === "library") return threshold;
  return threshold >= 0.25 ? (0.6 - threshold) / 1.4 : 1 - 3 * threshold;
}

/** The end of the JSON object that begins at a place of a text. */
function endOfObject(text, start) {
  let depth = 0;
  let quoted = false;
  for (let place = start; place < text.length; place += 1) {
    const letter = text[place];
    if (quoted) {
      if (letter === "\\") place += 1;
      else if (letter === '"') quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === "{") depth += 1;
    else if (letter === "}" && (depth -= 1) === 0) return place + 1;
  }
  return text.length;
}
