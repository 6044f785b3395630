/** The channels that carried most, each with the images of the bank that excite it most. */

import { bar, el, places, signed, thumbnail } from "./elements.js";

/** Draw `why.channels`; null where there are none. */
export function channelList(channels) {
  if (!channels || !channels.top.length) return null;
  const amounts = channels.top.map((one) => one.amount);
  const [low, high] = [Math.min(0, ...amounts), Math.max(0, ...amounts)];
  const figures = places(amounts);
  const list = el("ol", { class: "channels" });
  for (const { channel, amount, images } of channels.top) {
    const shown = el("ul", { class: "thumbnails", "aria-label": `Images that excite channel ${channel} most` });
    for (const image of images ?? []) {
      const words = `image ${image.id}${image.label ? `, ${image.label}` : ""}`;
      shown.append(el("li", {}, thumbnail(image.picture, words, { title: `${words}: ${signed(image.value, 3)}` })));
    }
    list.append(el("li", {}, el("span", { class: "name" }, `Channel ${channel}`), bar(0, amount, low, high), el("span", { class: "number" }, signed(amount, figures)), shown));
  }
  return el("section", { class: "channel-section" }, el("h3", {}, "Channels"), channels.words && el("p", { class: "note", text: channels.words }), list);
}
