package gateway

// subscriptionSet holds the subscriptions of one connection. Most connections
// have one or a few, for which a slice is smaller and faster than a map; a map
// takes over where there are many.
type subscriptionSet struct {
	few  []*subscription
	many map[string]*subscription
}

const fewSubscriptions = 12

func (s *subscriptionSet) len() int {
	if s.many != nil {
		return len(s.many)
	}
	return len(s.few)
}

func (s *subscriptionSet) get(topic string) *subscription {
	if s.many != nil {
		return s.many[topic]
	}
	for _, sub := range s.few {
		if sub.topic.name == topic {
			return sub
		}
	}
	return nil
}

func (s *subscriptionSet) add(sub *subscription) {
	if s.many == nil && len(s.few) < fewSubscriptions {
		s.few = append(s.few, sub)
		return
	}
	if s.many == nil {
		s.many = make(map[string]*subscription, 2*fewSubscriptions)
		for _, old := range s.few {
			s.many[old.topic.name] = old
		}
		s.few = nil
	}
	s.many[sub.topic.name] = sub
}

func (s *subscriptionSet) remove(sub *subscription) {
	if s.many != nil {
		delete(s.many, sub.topic.name)
		return
	}
	for i, other := range s.few {
		if other == sub {
			last := len(s.few) - 1
			s.few[i], s.few[last] = s.few[last], nil
			s.few = s.few[:last]
			return
		}
	}
}

// all returns the subscriptions in a slice of the caller's own.
func (s *subscriptionSet) all() []*subscription {
	subs := append(make([]*subscription, 0, s.len()), s.few...)
	for _, sub := range s.many {
		subs = append(subs, sub)
	}
	return subs
}
