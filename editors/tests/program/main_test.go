package main

import "testing"

func TestPrice(t *testing.T) {
	got := price(&Order{Items: []Item{{"tea", 350}}}, 50) // in a test
	if got != 300 {
		t.Errorf("price is %d", got)
	}
}
