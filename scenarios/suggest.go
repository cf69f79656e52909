package scenarios

import "firetower/config/suggest"

// DidYouMean is `, did you mean "x"?` for the candidate nearest to name, or
// empty when none is near enough to be a slip of the fingers.
func DidYouMean(name string, candidates []string) string { return suggest.DidYouMean(name, candidates) }
