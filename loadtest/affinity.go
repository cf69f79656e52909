package loadtest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// halves shares CPUs between the servers and the load. Siblings of one core stay
// together, or the halves would slow each other down; of an odd number the servers
// get one more.
func halves(cpus []int) (servers, load []int) {
	sorted := slices.Clone(cpus)
	at := func(cpu int, file string) int {
		n, err := strconv.Atoi(readText(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/%s", cpu, file)))
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortStableFunc(sorted, func(a, b int) int {
		return cmp.Or(cmp.Compare(at(a, "physical_package_id"), at(b, "physical_package_id")), cmp.Compare(at(a, "core_id"), at(b, "core_id")), cmp.Compare(a, b))
	})
	half := (len(sorted) + 1) / 2
	servers, load = sorted[:half], sorted[half:]
	slices.Sort(servers)
	slices.Sort(load)
	return servers, load
}

// isolate keeps this process to some CPUs, with as many of them in Go's account,
// until undo.
func isolate(cpus []int) (undo func(), err error) {
	before, err := processCPUs()
	if err != nil {
		return nil, err
	}
	if err := pinProcess(cpus); err != nil {
		return nil, err
	}
	all := setProcessors(len(cpus))
	return func() {
		all()
		_ = pinProcess(before) // it was so before
	}, nil
}

// cpuList writes CPUs as 0-3,8.
func cpuList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, strconv.Itoa(cpus[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", cpus[i], cpus[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
