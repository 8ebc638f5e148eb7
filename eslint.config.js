import js from "@eslint/js";

export default [
  { ignores: ["**/.venv*/", "**/node_modules/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off", // tsc knows the names of a browser
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
      "prefer-template": "error",
      "object-shorthand": "error",
      "func-style": ["error", "declaration", { allowArrowFunctions: true }],
      "no-implicit-coercion": ["error", { allow: ["!!", "+"] }],
      eqeqeq: "error",
      "max-len": ["error", { code: 120, ignoreRegExpLiterals: true }],
    },
  },
];
