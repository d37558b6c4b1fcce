//! The side inside the walls: raises them and runs commands in them. It holds no secret.
//! It must never fall to a weaker level than was asked for without saying so.

pub mod resolver;
pub mod walls;
