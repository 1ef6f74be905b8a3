// --- films: still pictures until they come into view; nothing moves by itself if the system asks for less motion
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function startFilms() {
  for (const image of all("img[data-film]")) {
    const still = image.src, button = image.parentElement.querySelector("button");
    const name = button.getAttribute("aria-label").replace(/^Play /, "");
    let wanted = !calm.matches, visible = false;
    const show = () => {
      const plays = wanted && visible;
      if (plays !== (image.src !== still)) {
        image.src = plays ? `data:image/webp;base64,${byId(image.dataset.film).textContent}` : still;
      }
      button.textContent = wanted ? "Pause" : "Play";
      button.setAttribute("aria-label", `${button.textContent} ${name}`);
    };
    button.hidden = false;
    button.addEventListener("click", () => { wanted = !wanted; show(); });
    calm.addEventListener("change", () => { wanted = !calm.matches; show(); });
    new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; show(); }).observe(image);
    show();
  }
}
