//! Circles among steps that wait for each other.

/// One circle as indices, first repeated at the end, if there is one.
pub(super) fn circle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut done = vec![false; needs.len()];
    for start in 0..needs.len() {
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            if done[node] || *next == needs[node].len() {
                done[node] = true;
                path.pop();
                continue;
            }
            let need = needs[node][*next];
            *next += 1;
            if let Some(at) = path.iter().position(|(other, _)| *other == need) {
                let mut found: Vec<usize> = path[at..].iter().map(|(index, _)| *index).collect();
                found.push(need);
                return Some(found);
            }
            path.push((need, 0));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_shown_from_its_first_step() {
        assert_eq!(circle(&[vec![], vec![0], vec![0, 1]]), None);
        assert_eq!(circle(&[vec![1], vec![2], vec![1]]), Some(vec![1, 2, 1]));
        assert_eq!(circle(&[vec![2], vec![], vec![0]]), Some(vec![0, 2, 0]));
    }
}
