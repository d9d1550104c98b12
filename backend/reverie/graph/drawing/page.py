"""A graph as a page: the picture with a few lines of script, to move about, come nearer and see what hangs on what.

It loads nothing: all it needs stands in it.
"""

from typing import Final

from reverie.graph.drawing.picture import Picture
from reverie.graph.drawing.svg import svg
from reverie.graph.drawing.text import shown, xml

_STYLE: Final = """
html,body{margin:0;height:100%;background:#fbfcfe}
svg.reverie{display:block;width:100vw;height:100vh;cursor:grab;touch-action:none}
svg.reverie.held{cursor:grabbing}
.node{cursor:pointer}
.looking .node,.looking .edge,.looking .relation{opacity:.12}
.looking .near{opacity:1}
@media (prefers-color-scheme: dark){html,body{background:#10161f}}
"""

_SCRIPT: Final = """
(() => {
  const picture = document.querySelector("svg.reverie"), box = picture.viewBox.baseVal;
  const parts = [...picture.querySelectorAll("[data-a]")], nodes = [...picture.querySelectorAll("[data-id]")];
  const at = (event) => {
    const matrix = picture.getScreenCTM().inverse();
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  };
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const share = Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 300), place = at(event);
    box.x = place.x - (place.x - box.x) * share;
    box.y = place.y - (place.y - box.y) * share;
    box.width *= share;
    box.height *= share;
  }, { passive: false });
  let held = null;
  picture.addEventListener("pointerdown", (event) => {
    held = at(event);
    picture.classList.add("held");
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointermove", (event) => {
    if (!held) return;
    const place = at(event);
    box.x += held.x - place.x;
    box.y += held.y - place.y;
  });
  const letGo = () => { held = null; picture.classList.remove("held"); };
  picture.addEventListener("pointerup", letGo);
  picture.addEventListener("pointercancel", letGo);
  const look = (id) => {
    picture.classList.toggle("looking", id !== null);
    const near = new Set([id]);
    for (const part of parts) {
      const { a, b } = part.dataset, touches = a === id || b === id;
      part.classList.toggle("near", touches);
      if (touches) { near.add(a); near.add(b); }
    }
    for (const node of nodes) node.classList.toggle("near", near.has(node.dataset.id));
  };
  for (const node of nodes) {
    node.addEventListener("pointerenter", () => { if (!held) look(node.dataset.id); });
    node.addEventListener("pointerleave", () => { if (!held) look(null); });
  }
})();
"""


def html(picture: Picture) -> str:
    """The picture as an HTML document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever stands in a name, nothing is fetched and nothing is sent.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline';"
        " script-src 'unsafe-inline'\">\n"
        f"<title>{xml(f'What is known of {shown(picture.user)}')}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{svg(picture)}<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
