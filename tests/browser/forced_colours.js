// Run in a page under forced colours: what says its state by nothing but a colour.
const wrong = [];
let lookedAt = 0;
const bordered = (style) => ["Top", "Right", "Bottom", "Left"].some((side) =>
  style[`border${side}Style`] !== "none" && parseFloat(style[`border${side}Width`]) > 0);
const look = (css, check) => {
  for (const it of document.querySelectorAll(css)) {
    if (it.offsetParent === null) continue;
    lookedAt += 1;
    const what = check(it, getComputedStyle(it));
    if (what) wrong.push(`${css} "${it.textContent.trim().slice(0, 40)}": ${what}`);
  }
};
// A tag's words are its meaning, and a border makes it one.
look(".tag", (it, style) => !it.textContent.trim() ? "no words" : !bordered(style) && "no border");
look(".notice, .steroid, .card, .callout, .errors, .patient", (_, style) => !bordered(style) && "no border");
look("button", (it, style) => !it.textContent.trim() ? "no words" : !bordered(style) && "no border");
look(".places a[aria-current], .tabs a[aria-current]", (it, style) => {
  const other = it.closest("ul").querySelector("a:not([aria-current])");
  return other && style.borderTopWidth + style.borderBottomWidth ===
    getComputedStyle(other).borderTopWidth + getComputedStyle(other).borderBottomWidth && "as the others";
});
look(".alerts tr.new.critical th, .alerts tr.new.warning th", (_, style) =>
  parseFloat(style.borderLeftWidth) < 2 && "a new row is marked by its colour alone");
look(".alerts tr", (it) => it.parentElement.tagName === "TBODY" &&
  !/(Critical|Warning)/.test(it.textContent) && "how severe it is, is not said");
look(".alerts tr.withdrawn", (it) => !it.querySelector("s") && "a withdrawn finding is not struck through");
look("#connection", (it) => {
  const sign = getComputedStyle(it, "::before").content;
  return (sign === "none" || !it.textContent.trim()) && "live or not is not said";
});
look(".results .value.critical", (it) => !it.closest("td").querySelector(".tag") && "no word beside a critical value");
return { forced: matchMedia("(forced-colors: active)").matches, wrong, looked_at: lookedAt };
