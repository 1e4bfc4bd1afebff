/* Control groups: the processors and the memory that a container or a service manager allows this
 * process. */
#ifndef DVIT_BASE_CGROUP_H
#define DVIT_BASE_CGROUP_H

/* Whole processors, rounded up, of the smallest quota among the groups of this process and all
 * their ancestors, in version 1 and 2; 0: no limit. `root` stands before every path that is read,
 * "" but in tests. */
int dvit_cgroup_processors(const char *root);

/* Bytes that the groups of this process may still take, by the tightest of them and their
 * ancestors; −1: no limit. */
long long dvit_cgroup_memory(const char *root);

#endif
