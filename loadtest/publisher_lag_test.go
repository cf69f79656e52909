package loadtest_test

import (
	"testing"
	"time"

	"firetower/loadtest"
	"firetower/scenarios"
)

// What a server holds up makes later messages late, which is not the publisher's own lag,
// whatever became of the message that was held up.
func TestOwnLagIsWithoutWhatTheServerHeldUp(t *testing.T) {
	t.Parallel()
	s := tiny(t, func(s *scenarios.Scenario) {
		s.Load.Rate.PerSecond, s.Load.Publishers = 200, 1
		s.Load.GiveUp.Duration = 10 * time.Second
	})
	for name, end := range map[string]error{"sent": nil, "dropped": loadtest.ErrWindowFull, "refused": loadtest.ErrNotConnected} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			send := func(string, []byte) error {
				if n++; n != 20 {
					return nil
				}
				<-time.After(time.Second)
				return end
			}
			all, own, err := loadtest.PublisherLags(t.Context(), s, 1500*time.Millisecond, &loadtest.FakeSink{Send: send})
			if err != nil {
				t.Fatal(err)
			}
			if held := int64(time.Second); all.Max() < held*9/10 || own.Max() > all.Max()/2 || own.Count() != all.Count() {
				t.Errorf("lag up to %v, our own up to %v, of %d and %d messages", time.Duration(all.Max()), time.Duration(own.Max()), all.Count(), own.Count())
			}
		})
	}
}
