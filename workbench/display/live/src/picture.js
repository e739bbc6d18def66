// Stands in where the bundle was not built: the static picture, and a sentence that says so.

function render({ model, el }) {
  const notice = document.createElement("p");
  notice.className = "workbench-chart-notice";
  notice.setAttribute("role", "status");
  notice.textContent = model.get("setup").notice;
  el.append(notice);
  const picture = model.get("picture");
  if (!picture.byteLength) return;
  const image = document.createElement("img");
  const url = URL.createObjectURL(new Blob([picture], { type: "image/png" }));
  image.src = url;
  image.alt = `${model.get("setup").symbol} ${model.get("setup").timeframe}`;
  image.style.maxWidth = "100%";
  image.width = 1200;
  el.append(image);
  return () => URL.revokeObjectURL(url);
}

export default { render };
