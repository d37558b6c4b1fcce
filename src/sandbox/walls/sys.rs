//! The one room that may hold `unsafe`: kernel calls that no safe crate offers.
//! It must never decide anything.
