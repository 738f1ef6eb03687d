//! Free loopback ports. Below the range from which the kernel takes ports for outgoing connections, so that nothing takes
//! one between the look and the server's start; never the same one twice in this process.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port nobody listens on.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run on this machine starts elsewhere.
    let start = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// A loopback address of its own for a pod, so that every pod may use the same ports. Another run on this machine takes
/// another network.
pub fn address() -> String {
    let (run, number) = (std::process::id() % 100, serial());
    format!("127.{}.{}.{}", 100 + run, number / 250 % 250, 1 + number % 250)
}

/// A number no other call of this process gets.
pub fn serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
