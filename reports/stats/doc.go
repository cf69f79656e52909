// Package stats decides what repeated measurements say about a change: by how much
// it moved a figure, how sure that is, and whether it matters. It owns the tests,
// the intervals, the bootstraps and the words for their outcome; it knows numbers
// alone, nothing of runs, files or servers, and imports no package of this project.
//
// The observation is a run, never a delivery: the deliveries of one run share its
// queues, collections and scheduling, and a start settles at a level of its own, so
// that millions of latencies of one run say next to nothing about the next start.
// Figures are compared by ratio, on logarithms, since noise on latency and CPU time
// is proportional to them.
//
// What is used, and from where:
//
//   - the shift estimate and its exact interval: Hodges and Lehmann, "Estimates of
//     location based on rank tests", Ann. Math. Stat. 34 (1963); the interval from
//     ordered differences as in Hollander, Wolfe and Chicken, "Nonparametric
//     Statistical Methods", 3rd ed., sections 3.3 and 4.3;
//   - the rank-sum test: Mann and Whitney, Ann. Math. Stat. 18 (1947); with ties the
//     permutation distribution given the ties, as in Lehmann, "Nonparametrics",
//     section 1.4;
//   - the signed-rank test: Wilcoxon, Biometrics Bulletin 1 (1945);
//   - several figures at once: Holm, Scand. J. Stat. 6 (1979);
//   - equivalence within a band: Schuirmann, J. Pharmacokin. Biopharm. 15 (1987),
//     here with the two-sided interval and so on the strict side;
//   - how many runs: Noether, JASA 82 (1987), for the efficiency of ranks, and
//     Guenther, Am. Stat. 35 (1981), for the term that small samples need;
//   - the cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their
//     Application", section 3.8; the moving-block bootstrap: Künsch, Ann. Stat. 17
//     (1989).
package stats
