// The other language at the place that is being read, and with what was searched for.
document.querySelectorAll(".course-language").forEach((link) => {
  const page = link.href;
  link.addEventListener("click", () => {
    const above = [...document.querySelectorAll("article section[id]")].filter(
      (section) => section.getBoundingClientRect().top < 120,
    );
    const place = window.scrollY > 0 && above.length ? "#" + above.at(-1).id : location.hash;
    link.href = page + location.search + place;
  });
});
