//! What an agent changed, as plain data, and what is wrong with it.
//! It must never read a file: whoever collects hands the bytes in.
