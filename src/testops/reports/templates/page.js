"use strict";
document.querySelectorAll("pre[data-copy]").forEach(function (pre) {
  if (!navigator.clipboard) return;
  var button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy the command");
  button.addEventListener("click", function () {
    navigator.clipboard.writeText(pre.textContent).then(
      function () { button.textContent = "Copied"; },
      function () { button.textContent = "Select and copy"; });
    setTimeout(function () { button.textContent = "Copy"; }, 1600);
  });
  pre.parentNode.appendChild(button);
});
