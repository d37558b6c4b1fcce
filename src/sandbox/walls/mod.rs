//! One room for each wall.

pub mod sys;
