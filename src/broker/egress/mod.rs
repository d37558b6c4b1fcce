//! The only road out of the walls.
//! It must never forward a request that the verdict did not allow.

pub mod model_traffic;
