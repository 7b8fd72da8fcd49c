// The reader's API key or token: kept in this tab, asked for when there is none or it is refused.

const KEY = "kith-key";
let asking = null;

export const key = () => sessionStorage.getItem(KEY);

// A link may bring the key behind its #, which never reaches a server; it leaves the address bar at once.
export function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!given) return;
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

// Asks once for all who need one; whether one was given.
export function askForKey(detail) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask"), input = document.getElementById("ask-key");
    document.getElementById("ask-why").textContent = detail;
    input.value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && input.value.trim();
      if (given) sessionStorage.setItem(KEY, given.replace(/^Bearer\s+/i, ""));
      input.value = "";
      asking = null;
      resolve(Boolean(given));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
