# What is installed, and packed by `cpack --config build/release/CPackConfig.cmake`: the program, and what it and people read, in share/temper
# beside it. Nothing knows its prefix, so that the tree can be moved. tests/integration/install.py has the list of files.
include(GNUInstallDirs)
# Libraries outside of the system's folders (conda's, NCCL of PyPI) are found again where they were.
set_property(TARGET temper PROPERTY INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS temper RUNTIME DESTINATION bin)
install(DIRECTORY scripts/plots scripts/corpora DESTINATION share/temper USE_SOURCE_PERMISSIONS
        FILES_MATCHING PATTERN *.py PATTERN *.css PATTERN *.js PATTERN __pycache__ EXCLUDE)
install(DIRECTORY configs scripts/slurm DESTINATION share/temper USE_SOURCE_PERMISSIONS FILES_MATCHING PATTERN *.json PATTERN *.sbatch)
install(FILES README.md LICENSE DESTINATION share/doc/temper)
install(DIRECTORY docs DESTINATION share/doc/temper FILES_MATCHING PATTERN *.md PATTERN *.png PATTERN benchmarks EXCLUDE PATTERN experiments EXCLUDE)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_CONTACT "The temper authors <noreply@temper.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_FILE_NAME temper-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
find_program(TEMPER_SHLIBDEPS dpkg-shlibdeps)
find_program(TEMPER_FILE file)  # CPack asks it which files are programs
mark_as_advanced(TEMPER_SHLIBDEPS TEMPER_FILE)
if(TEMPER_SHLIBDEPS AND TEMPER_FILE)
  # A library that no package has would be missing where the package goes.
  set(unpacked OFF)
  if(TEMPER_HAS_NCCL)
    execute_process(COMMAND dpkg -S ${NCCL_LIBRARY} OUTPUT_QUIET ERROR_QUIET RESULT_VARIABLE unpacked)
  endif()
  if(unpacked)
    message(STATUS "temper: cpack makes no .deb, since no package has ${NCCL_LIBRARY}: install libnccl-dev, or configure with -DTEMPER_NCCL=OFF")
  else()
    list(APPEND CPACK_GENERATOR DEB)
  endif()
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3, python3-matplotlib")  # pictures of reports
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "openmpi-bin")
endif()
include(CPack)
