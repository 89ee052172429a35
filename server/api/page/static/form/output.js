// The file that comes out, and the scheduler.

import { getJson } from "../api.js";
import { t } from "../i18n.js";
import { showError } from "../messages.js";
import { getDraft } from "../state.js";
import { checkbox, field, fold, numberInput, select } from "./controls.js";

const FORMATS = ["JPG", "PNG", "WEBP"];
let schedulers = null;

/** Scheduler, format, quality, and the check of the content. */
export function outputSection() {
  const scheduler = select("scheduler");
  const format = select("outputFormat");
  const quality = numberInput("outputQuality", { min: 20, max: 99 });
  const check = checkbox("safety.checkContent", t("output.check"));
  const isUsed = () => ["scheduler", "outputFormat", "outputQuality", "safety"].some((name) => getDraft()[name] !== undefined);
  const qualityField = field(t("output.quality"), quality.element, { path: "outputQuality" });
  const part = fold(
    t("output.title"),
    isUsed,
    field(t("output.scheduler"), scheduler.element, { path: "scheduler" }),
    field(t("output.format"), format.element, { path: "outputFormat" }),
    qualityField,
    check.element,
  );
  part.element.addEventListener("toggle", () => part.element.open && loadSchedulers().then(() => update(getDraft())).catch(showError));
  const update = (draft) => {
    part.update();
    scheduler.update([["", t("output.default")], ...(schedulers ?? []).map((name) => [name, name])]);
    format.update([["", t("output.defaultFormat")], ...FORMATS.map((name) => [name, name])]);
    qualityField.hidden = draft.outputFormat === "PNG";
    quality.update(95);
    check.update();
  };
  return { element: part.element, update };
}

/** The names of the schedulers, as the API's own description lists them. */
export async function loadSchedulers() {
  if (schedulers) return schedulers;
  const { components } = await getJson("openapi.json");
  const member = components.schemas.ImageInference.properties.scheduler;
  schedulers = (member.anyOf ?? [member]).flatMap((option) => option.enum ?? []);
  return schedulers;
}
