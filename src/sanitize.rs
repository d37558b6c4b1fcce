//! One sanitiser for every text that goes to the model or out to GitHub.
//! It must never let through what a reader cannot see.
