// What a receipt says, in words: one fact a row, with the same keys for every picture, so that two can be compared.

import { dateTime, duration, number, t } from "../i18n.js";
import { modelOf, titleOf } from "../info.js";
import { SWITCHES, schedulerName } from "../receipts.js";

const GIB_DIGITS = 1;

/**
 * The facts of an answer of `/v1/receipts`: `{key, label, text}`, without those that the picture has not. `timings` are
 * those of its task, where it is known.
 */
export function factsOf({ receipt, seconds, created, cache }, timings = {}) {
  const { request, encoding, device, dtype, engaged, versions } = receipt;
  const rows = [
    ["model", t("form.model"), nameOfModel(request.model)],
    ["prompt", t("form.prompt"), request.prompt],
    ["negative", t("form.negative"), request.negative_prompt],
    ["size", t("form.size"), `${request.width} × ${request.height}`],
    ["seed", t("form.seed"), String(request.seed)],
    ["steps", t("form.steps"), number(request.steps)],
    ["guidance", t("form.guidance"), request.true_cfg_scale > 1 ? number(request.true_cfg_scale, 2) : t("viewer.off")],
    ["scheduler", t("output.scheduler"), schedulerName(request.sampler) ?? t("output.default")],
    ["references", t("pictures.references"), request.references.map(sizeText).join(", ")],
    ["start", t("pictures.start"), request.seed_image && sizeText(request.seed_image)],
    ["strength", t("pictures.strength"), request.seed_image && number(request.strength, 2)],
    ["mask", t("viewer.mask"), request.mask && (request.mask_margin ? t("viewer.margin", { pixels: request.mask_margin }) : t("viewer.yes"))],
    ["outpaint", t("outpaint.title"), request.outpaint && sides(request.outpaint)],
    ["loras", t("adapters.loras"), request.loras.map(weighted).join(", ")],
    ["controls", t("adapters.controlNets"), request.controls.map(weighted).join(", ")],
    ["guard", t("viewer.guard"), request.guard && guardText(request.guard)],
    ["faces", t("viewer.faces"), request.faces && t("viewer.yes")],
    ["watermark", t("viewer.watermark"), request.watermark],
    ["cache", t("caches.title"), cacheText(request.cache)],
    ["computed", t("viewer.computed"), cache ? t("viewer.of", { count: cache.steps - cache.reusedSteps, all: cache.steps }) : t("viewer.all")],
    ["saved", t("viewer.saved"), cache && cache.secondsSaved > 0 && duration(cache.secondsSaved)],
    ["seconds", t("viewer.seconds"), duration(seconds)],
    ["queue", t("viewer.queue"), timings.queue !== undefined && duration(timings.queue)],
    ["total", t("viewer.total"), timings.total !== undefined && duration(timings.total)],
    ["created", t("viewer.created"), dateTime(created, "medium")],
    ["file", t("output.format"), encoding[0] === "PNG" ? "PNG" : `${encoding[0]}, ${t("viewer.quality", { quality: encoding[1] })}`],
    ["device", t("viewer.device"), `${device}, ${dtype}`],
    ["engaged", t("viewer.engaged"), engaged && engagedText(engaged)],
    ["versions", t("viewer.versions"), Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  return rows.filter(([, , text]) => text).map(([key, label, text]) => ({ key, label, text }));
}

export function cacheText(cache) {
  if (!cache) return t("viewer.noCache");
  const name = SWITCHES[cache.strategy] ? t(`caches.${SWITCHES[cache.strategy]}`) : cache.strategy;
  const values = { name, threshold: number(cache.threshold, 3), start: cache.start + 1, end: cache.end, run: cache.max_run };
  return t("viewer.cacheText", values);
}

const nameOfModel = (air) => {
  const model = modelOf({ model: air });
  return model ? `${titleOf(model)} (${air})` : air;
};
const sizeText = ({ width, height }) => `${width} × ${height}`;
const weighted = ({ name, weight }) => `${name} × ${number(weight, 2)}`;
const sides = (outpaint) => ["top", "right", "bottom", "left"].filter((side) => outpaint[side]).map((side) => `${t(`outpaint.${side}`)} ${outpaint[side]}`).join(", ");
const guardText = ({ align, keep }) => [align && t("viewer.aligned"), keep && t("viewer.kept")].filter(Boolean).join(", ");
const counted = (layers) => Object.entries(layers).map(([name, count]) => `${name} × ${number(count)}`).join(", ");

/** What the weights ran with, as the server notes it in the receipt of a picture. */
function engagedText(engaged) {
  const parts = [
    counted(engaged.layers),
    t("viewer.encoder", { layers: counted(engaged.encoder_layers), place: t(`viewer.place.${engaged.encoder_place}`) }),
    engaged.streamed_gib > 0 && t("viewer.streamed", { size: number(engaged.streamed_gib, GIB_DIGITS) }),
    t("viewer.attention", { name: engaged.attention }),
    engaged.tables && t("viewer.tables"),
    engaged.compiled && t("viewer.compiled"),
    engaged.relaxed && t("viewer.relaxed"),
    engaged.fused_heads && t("viewer.fused"),
    engaged.batched_cfg && t("viewer.batched"),
    engaged.graphs !== null && engaged.graphs !== undefined && t("viewer.graphs"),
  ];
  return parts.filter(Boolean).join("; ");
}
