// Light, dark, or as the system has it.

export function colours(button) {
  const names = { "": "as the system", light: "light", dark: "dark" }, order = ["", "light", "dark"];
  const signs = { "": "◐", light: "☀", dark: "☾" };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("kith-theme") ?? "";
    document.documentElement.dataset.theme = chosen || (system.matches ? "dark" : "light");
    button.setAttribute("aria-label", `Colours: ${names[chosen] ?? chosen}`);
    button.title = button.getAttribute("aria-label");
    button.textContent = signs[chosen] ?? "◐";
  };
  button.addEventListener("click", () => {
    const at = order.indexOf(localStorage.getItem("kith-theme") ?? "");
    localStorage.setItem("kith-theme", order[(at + 1) % order.length]);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
